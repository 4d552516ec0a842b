-- What becomes of the audit trail's content: holds, erasure, retention, and keys wrapped anew. Everything here leaves its
-- entry in the log, in the transaction that does it. How and why: docs/decisions/0004-audit-trail.md. Run as citadel_owner,
-- in one transaction, by the migration runner.
--
-- Locks, in the order in which they are taken; nobody who has one asks for one that stands before it:
--   (4850147, 4) holds: who removes content has it until the commit, so that a hold comes before or after and never between.
--                It may be had for long, while a month is counted, so nobody takes it who has the log;
--   (4850147, 3) partitions;
--   (4850147, 2) the log, the sequencer's;
--   audit.event_CLASS, then audit.sealed_CLASS, as the sequencer reads and writes them. An erasure deletes the other way
--                round; only a drop locks others out of these tables, and the two never run at once, by the first lock.

-- ---------------------------------------------------------------------------------------------------------------------
-- Holds.

ALTER TABLE audit.hold ADD COLUMN release_reason text;
COMMENT ON COLUMN audit.hold.subject IS 'whose events; once the hold is released and nothing of the subject is left: sha256:DIGEST';

-- A subject's name stays out of the log, where nobody could erase it. From now on two functions alone write here.
DROP TRIGGER audit_change ON audit.hold;
DROP TRIGGER audit_truncate ON audit.hold;
SELECT audit.attach('audit.hold', '{subject}');
REVOKE INSERT ON audit.hold FROM citadel_app;
REVOKE UPDATE (released_at, released_by) ON audit.hold FROM citadel_app;

-- The subject first: a hold may name one without its tenant.
DROP INDEX audit.event_by_subject;
CREATE INDEX event_by_subject ON audit.event (subject, tenant) WHERE subject <> '';

CREATE FUNCTION audit.subject_digest(subject text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
  SELECT encode(sha256(convert_to(subject, 'UTF8')), 'hex')
$$;
COMMENT ON FUNCTION audit.subject_digest(text) IS 'How a subject is named where its name must not stay';
REVOKE ALL ON FUNCTION audit.subject_digest(text) FROM PUBLIC;

CREATE FUNCTION audit.place_hold(of_tenant text, of_subject text, of_object_type text, of_object text,
                                 of_time_from timestamptz, of_time_to timestamptz, why text, who text) RETURNS uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  placed audit.hold;
BEGIN
  IF num_nonnulls(of_tenant, of_subject, of_object, of_time_from, of_time_to) = 0
     OR (of_object_type IS NULL) <> (of_object IS NULL) OR coalesce(why, '') = '' OR coalesce(who, '') = '' THEN
    RAISE EXCEPTION 'a hold needs something that it names, a reason and who places it' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(4850147, 4);
  INSERT INTO audit.hold (tenant, subject, object_type, object, time_from, time_to, reason, placed_by)
  VALUES (of_tenant, of_subject, of_object_type, of_object, of_time_from, of_time_to, why, who) RETURNING * INTO placed;
  INSERT INTO audit.pending (action, object_type, object, tenant, reason, details)
  VALUES ('audit.hold_placed', 'hold', placed.id, coalesce(of_tenant, 'default'), why,
          json_build_object('hold', placed.id, 'placed_by', who, 'tenant', of_tenant,
                            'subject_sha256', audit.subject_digest(of_subject), 'object_type', of_object_type,
                            'object', of_object, 'time_from', of_time_from, 'time_to', of_time_to));
  RETURN placed.id;
END $$;
COMMENT ON FUNCTION audit.place_hold(text, text, text, text, timestamptz, timestamptz, text, text) IS
  'From now on what is named is neither erased nor dropped; NULL names everything; leaves an entry; returns the hold''s id';
REVOKE ALL ON FUNCTION audit.place_hold(text, text, text, text, timestamptz, timestamptz, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.place_hold(text, text, text, text, timestamptz, timestamptz, text, text) TO citadel_app;

CREATE FUNCTION audit.release_hold(of_hold uuid, why text, who text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found_hold audit.hold;
  kept text;
BEGIN
  IF coalesce(why, '') = '' OR coalesce(who, '') = '' THEN
    RAISE EXCEPTION 'a release needs a reason and who releases' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(4850147, 4);
  SELECT * INTO found_hold FROM audit.hold WHERE id = of_hold FOR UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  IF found_hold.released_at IS NOT NULL THEN
    RETURN false;
  END IF;
  -- Of a subject that was erased before there is no later erasure that would take its name from here.
  kept := found_hold.subject;
  IF kept <> ''
     AND NOT EXISTS (SELECT FROM audit.event e WHERE e.subject = kept AND e.subject <> ''
                     AND e.tenant = coalesce(found_hold.tenant, e.tenant))
     AND NOT EXISTS (SELECT FROM audit.conflict c WHERE c.subject = kept AND c.tenant = coalesce(found_hold.tenant, c.tenant))
     AND NOT EXISTS (SELECT FROM audit.subject_key k WHERE k.subject = kept AND k.tenant = coalesce(found_hold.tenant, k.tenant)
                     AND k.destroyed_at IS NULL) THEN
    kept := 'sha256:' || audit.subject_digest(kept);
  END IF;
  UPDATE audit.hold SET released_at = clock_timestamp(), released_by = who, release_reason = why, subject = kept
   WHERE id = of_hold;
  INSERT INTO audit.pending (action, object_type, object, tenant, reason, details)
  VALUES ('audit.hold_released', 'hold', of_hold, coalesce(found_hold.tenant, 'default'), why,
          json_build_object('hold', of_hold, 'released_by', who, 'placed_at', found_hold.placed_at));
  RETURN true;
END $$;
COMMENT ON FUNCTION audit.release_hold(uuid, text, text) IS
  'Ends a hold and leaves an entry; false where it had ended before, NULL where there is none';
REVOKE ALL ON FUNCTION audit.release_hold(uuid, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.release_hold(uuid, text, text) TO citadel_app;

CREATE FUNCTION audit.hold_of_subject(of_tenant text, of_subject text) RETURNS uuid
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- A hold of an object or of a time holds the subject where one of its events is of that object or time, or may be:
  -- what audit.conflict has of it cannot be looked into.
  SELECT h.id FROM audit.hold h
   WHERE h.released_at IS NULL AND coalesce(h.tenant, of_tenant) = of_tenant AND coalesce(h.subject, of_subject) = of_subject
     AND (h.subject IS NOT NULL OR num_nonnulls(h.object_type, h.object, h.time_from, h.time_to) = 0
       OR EXISTS (SELECT FROM audit.conflict c WHERE c.tenant = of_tenant AND c.subject = of_subject)
       OR EXISTS (
       SELECT FROM audit.event e
        WHERE e.tenant = of_tenant AND e.subject = of_subject AND e.subject <> ''
          AND e.object_type = coalesce(h.object_type, e.object_type) AND e.object = coalesce(h.object, e.object)
          AND e.time >= coalesce(h.time_from, '-infinity') AND e.time < coalesce(h.time_to, 'infinity')))
   ORDER BY h.placed_at, h.id LIMIT 1
$$;
COMMENT ON FUNCTION audit.hold_of_subject(text, text) IS 'The oldest hold that keeps a subject''s data';
REVOKE ALL ON FUNCTION audit.hold_of_subject(text, text) FROM PUBLIC;

CREATE FUNCTION audit.hold_of_partition(events regclass) RETURNS uuid
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  h audit.hold;
  covers boolean;
BEGIN
  FOR h IN SELECT * FROM audit.hold WHERE released_at IS NULL ORDER BY placed_at, id LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE ($1 IS NULL OR tenant = $1) AND ($2 IS NULL OR subject = $2) '
                   'AND ($3 IS NULL OR object_type = $3) AND ($4 IS NULL OR object = $4) '
                   'AND ($5 IS NULL OR time >= $5) AND ($6 IS NULL OR time < $6))', events)
      INTO covers USING h.tenant, h.subject, h.object_type, h.object, h.time_from, h.time_to;
    IF covers THEN
      RETURN h.id;
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION audit.hold_of_partition(regclass) IS 'The oldest hold that covers an event in a partition';
REVOKE ALL ON FUNCTION audit.hold_of_partition(regclass) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------
-- Erasure. As in 0005, and: the oldest hold is named; the entry has the erasure's id, so that its proof is found by it,
-- and names every entry whose content went, so that a verifier tells erased from missing. Where nothing is there, nothing
-- is recorded.

ALTER TABLE audit.erasure ADD COLUMN conflicts bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION audit.erase_subject(of_tenant text, of_subject text, why text, who text) RETURNS uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  ranges_an_entry constant integer := 1500;  -- so that an entry's details hold them
  done audit.erasure;
  held uuid;
  names bigint;
  parts json[];
BEGIN
  IF of_subject = '' OR why = '' OR who = '' THEN
    RAISE EXCEPTION 'an erasure needs a subject, a reason and who asked for it' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(4850147, 4);
  PERFORM pg_advisory_xact_lock(4850147, 2);
  held := audit.hold_of_subject(of_tenant, of_subject);
  IF held IS NOT NULL THEN
    RAISE EXCEPTION 'the hold % keeps this subject''s data', held
      USING ERRCODE = 'object_in_use', HINT = 'Release the hold first, or erase when it has ended.';
  END IF;
  PERFORM set_config('citadel.audit_erasing', 'on', true);
  DELETE FROM audit.sealed s USING audit.subject_key k WHERE s.key_id = k.id AND k.tenant = of_tenant AND k.subject = of_subject;
  GET DIAGNOSTICS done.groups = ROW_COUNT;
  WITH gone AS (
    DELETE FROM audit.event WHERE tenant = of_tenant AND subject = of_subject
    RETURNING idx, retention, date_trunc('month', time) AS month
  ), ranged AS (
    SELECT retention, month, min(idx) AS first, max(idx) AS last, count(*) AS events
      FROM (SELECT g.*, idx - row_number() OVER (PARTITION BY retention, month ORDER BY idx) AS run FROM gone g) r
     GROUP BY retention, month, run
  ), numbered AS (
    SELECT r.*, (row_number() OVER (ORDER BY retention, month, first) - 1) / ranges_an_entry AS part FROM ranged r
  ), named AS (
    SELECT part, retention, month, sum(events) AS events,
           string_agg(CASE WHEN first = last THEN first::text ELSE first || '-' || last END, ' ' ORDER BY first) AS ranges
      FROM numbered GROUP BY part, retention, month
  ), listed AS (
    SELECT part, sum(events) AS events, json_agg(json_build_array(retention, to_char(month, 'YYYY-MM'), ranges)) AS entries
      FROM named GROUP BY part
  )
  SELECT coalesce(sum(events), 0), array_agg(entries ORDER BY part) INTO done.events, parts FROM listed;
  DELETE FROM audit.conflict WHERE tenant = of_tenant AND subject = of_subject;
  GET DIAGNOSTICS done.conflicts = ROW_COUNT;
  PERFORM set_config('citadel.audit_erasing', 'off', true);
  UPDATE audit.subject_key SET wrapped_key = '', destroyed_at = clock_timestamp()
   WHERE tenant = of_tenant AND subject = of_subject AND destroyed_at IS NULL;
  GET DIAGNOSTICS done.keys = ROW_COUNT;
  UPDATE audit.hold SET subject = 'sha256:' || audit.subject_digest(of_subject)
   WHERE subject = of_subject AND coalesce(tenant, of_tenant) = of_tenant AND released_at IS NOT NULL;
  GET DIAGNOSTICS names = ROW_COUNT;
  IF done.events + done.groups + done.conflicts + done.keys + names = 0 THEN
    RETURN NULL;
  END IF;
  INSERT INTO audit.erasure (events, groups, keys, conflicts, tenant, subject_digest, reason, erased_by)
  VALUES (done.events, done.groups, done.keys, done.conflicts, of_tenant, decode(audit.subject_digest(of_subject), 'hex'), why, who)
  RETURNING id, at INTO done.id, done.at;
  INSERT INTO audit.pending (id, action, object_type, object, tenant, reason, details)
  SELECT CASE WHEN part = 1 THEN done.id ELSE audit.new_id() END, 'audit.erasure', 'subject', audit.subject_digest(of_subject),
         of_tenant, why,
         json_build_object('erasure', done.id, 'part', part, 'parts', coalesce(cardinality(parts), 1), 'at', done.at, 'erased_by', who,
                           'events', done.events, 'groups', done.groups, 'conflicts', done.conflicts, 'keys', done.keys,
                           'entries', coalesce(parts[part], '[]'))
    FROM generate_series(1, coalesce(cardinality(parts), 1)) AS part;
  RETURN done.id;
END $$;
COMMENT ON FUNCTION audit.erase_subject(text, text, text, text) IS
  'Destroys a subject''s keys, rows and salts, unless a hold keeps them; leaves a row in audit.erasure and an entry, both of the id that it returns; NULL where nothing was there';

-- ---------------------------------------------------------------------------------------------------------------------
-- Retention. A month of a class is due when it and the last arrival of one of its events are older than the class is kept:
-- an event that claims to be old is kept as long as any.

ALTER TABLE audit.retention_run ADD COLUMN groups bigint NOT NULL DEFAULT 0, ADD COLUMN held_by uuid;
COMMENT ON TABLE audit.retention_run IS 'Partitions of content that were removed when due, and what was in them; and due ones that a hold kept, once a hold';
COMMENT ON COLUMN audit.retention_run.held_by IS 'the hold that kept the partition; NULL: it was removed';

CREATE FUNCTION audit.retention_parts(keep_seconds bigint[], of_retention smallint DEFAULT NULL, of_month timestamptz DEFAULT NULL)
  RETURNS TABLE (retention smallint, month timestamptz, events regclass, sealed regclass, due_at timestamptz)
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  suffixes constant text[] := '{short,standard,extended}';
  keep interval;
  last_arrival timestamptz;
BEGIN
  IF cardinality(keep_seconds) <> 3 OR (SELECT min(s) FROM unnest(keep_seconds) AS s) < 86400 THEN
    RAISE EXCEPTION 'each of the three classes is kept for a day at least' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  FOR class IN coalesce(of_retention, 1)..coalesce(of_retention, 3) LOOP
    keep := make_interval(secs => keep_seconds[class]);
    FOR events, month, due_at, sealed IN
      SELECT p.partition, p.lower_time, p.upper_time + keep, s.partition
        FROM audit.month_partitions(('audit.event_' || suffixes[class])::regclass) p
        LEFT JOIN audit.month_partitions(('audit.sealed_' || suffixes[class])::regclass) s
          ON s.lower_time = p.lower_time AND NOT s.detaching
       WHERE NOT p.detaching AND p.lower_time = coalesce(of_month, p.lower_time) ORDER BY p.lower_time
    LOOP
      retention := class;
      IF due_at <= clock_timestamp() THEN
        EXECUTE format('SELECT max(received_at) FROM %s', events) INTO last_arrival;
        due_at := greatest(due_at, last_arrival + keep);
      END IF;
      RETURN NEXT;
    END LOOP;
  END LOOP;
END $$;
COMMENT ON FUNCTION audit.retention_parts(bigint[], smallint, timestamptz) IS
  'Every month of content, or the one, and when it is due, for the times that the classes are kept; reads what is over its time';
REVOKE ALL ON FUNCTION audit.retention_parts(bigint[], smallint, timestamptz) FROM PUBLIC;

CREATE FUNCTION audit.retention_plan(keep_seconds bigint[])
  RETURNS TABLE (retention smallint, month timestamptz, partition text, due_at timestamptz, due boolean, held_by uuid,
                 events_estimate bigint, size_bytes bigint)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT p.retention, p.month, p.events::text, p.due_at, d.due, CASE WHEN d.due THEN audit.hold_of_partition(p.events) END,
         greatest(c.reltuples, 0)::bigint, pg_total_relation_size(p.events) + coalesce(pg_total_relation_size(p.sealed), 0)
    FROM audit.retention_parts(keep_seconds) p JOIN pg_class c ON c.oid = p.events,
         LATERAL (SELECT p.due_at <= clock_timestamp() AS due) d
   ORDER BY p.due_at, p.retention, p.month
$$;
COMMENT ON FUNCTION audit.retention_plan(bigint[]) IS 'What is dropped when, and of what is due what a hold keeps';
REVOKE ALL ON FUNCTION audit.retention_plan(bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.retention_plan(bigint[]) TO citadel_app;

-- One month of one class. It is read without a lock that anybody meets but who places a hold or erases. Readers and writers
-- of the class are locked out while it is dropped, and wait at most lock_timeout for each of its two locks: where it does not
-- get them within that, it fails, and is tried again with the next run.
CREATE FUNCTION audit.drop_month(keep_seconds bigint[], of_retention smallint, of_month timestamptz, who text)
  RETURNS TABLE (outcome text, partition text, events bigint, groups bigint, held_by uuid)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
  part record;
  size_before bigint;
  run uuid;
  suffix constant text := (ARRAY['short', 'standard', 'extended'])[of_retention];
  named text := suffix || '/' || to_char(of_month, 'YYYY-MM');
  kept text := keep_seconds[of_retention] / 86400 || ' days';
BEGIN
  PERFORM pg_advisory_xact_lock(4850147, 4);
  SELECT h.size INTO size_before FROM audit.head h;
  SELECT p.* INTO part FROM audit.retention_parts(keep_seconds, of_retention, of_month) p;
  IF NOT FOUND OR part.due_at > clock_timestamp() THEN
    RETURN QUERY SELECT 'not due', NULL::text, 0::bigint, 0::bigint, NULL::uuid;
    RETURN;
  END IF;
  partition := part.events;
  held_by := audit.hold_of_partition(part.events);
  IF held_by IS NOT NULL THEN
    outcome := 'held';
    events := 0;
    groups := 0;
    IF NOT EXISTS (SELECT FROM audit.retention_run r WHERE r.partition = drop_month.partition AND r.held_by = drop_month.held_by) THEN
      INSERT INTO audit.retention_run (before, events, retention, ran_by, partition, held_by)
      VALUES (clock_timestamp() - make_interval(secs => keep_seconds[of_retention]), 0, of_retention, who, drop_month.partition,
              drop_month.held_by) RETURNING id INTO run;
      INSERT INTO audit.pending (id, action, object_type, object, reason, details)
      VALUES (run, 'audit.retention_run', 'audit_content_held', named,
              format('kept, because the hold %s covers events of it', drop_month.held_by),
              json_build_object('partition', drop_month.partition, 'hold', drop_month.held_by, 'ran_by', who));
    END IF;
    RETURN NEXT;
    RETURN;
  END IF;
  EXECUTE format('SELECT count(*) FROM %s', part.events) INTO events;
  groups := 0;
  IF part.sealed IS NOT NULL THEN
    EXECUTE format('SELECT count(*) FROM %s', part.sealed) INTO groups;
  END IF;
  PERFORM pg_advisory_xact_lock(4850147, 3);
  EXECUTE format('LOCK TABLE ONLY audit.event_%s IN ACCESS EXCLUSIVE MODE', suffix);
  EXECUTE format('LOCK TABLE ONLY audit.sealed_%s IN ACCESS EXCLUSIVE MODE', suffix);
  -- An event that came after the first look was neither counted nor held against the holds: the next run does that.
  IF EXISTS (SELECT FROM audit.entry e WHERE e.idx >= size_before AND e.retention = of_retention
                AND e.time >= of_month AND e.time < of_month + interval '1 month') THEN
    RETURN QUERY SELECT 'not due', NULL::text, 0::bigint, 0::bigint, NULL::uuid;
    RETURN;
  END IF;
  IF part.sealed IS NOT NULL THEN
    EXECUTE format('DROP TABLE %s', part.sealed);
  END IF;
  EXECUTE format('DROP TABLE %s', part.events);
  outcome := 'dropped';
  INSERT INTO audit.retention_run (before, events, groups, retention, ran_by, partition)
  VALUES (clock_timestamp() - make_interval(secs => keep_seconds[of_retention]), drop_month.events, drop_month.groups,
          of_retention, who, drop_month.partition) RETURNING id INTO run;
  INSERT INTO audit.pending (id, action, object_type, object, reason, details)
  VALUES (run, 'audit.retention_run', 'audit_content', named,
          format('%s events and %s groups were kept for %s', drop_month.events, drop_month.groups, kept),
          json_build_object('partition', drop_month.partition, 'events', drop_month.events, 'groups', drop_month.groups,
                            'kept', kept, 'ran_by', who));
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION audit.drop_month(bigint[], smallint, timestamptz, text) IS
  'Drops the content of one month of a class where it is due and no hold covers it; leaves a row in audit.retention_run and an entry';
REVOKE ALL ON FUNCTION audit.drop_month(bigint[], smallint, timestamptz, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.drop_month(bigint[], smallint, timestamptz, text) TO citadel_app;

-- ---------------------------------------------------------------------------------------------------------------------
-- Rotation of the master key. The keys of subjects are wrapped anew; what they seal is not touched.

ALTER TABLE audit.subject_key ADD COLUMN wrapped_by bytea CHECK (octet_length(wrapped_by) = 8);
COMMENT ON COLUMN audit.subject_key.wrapped_by IS 'which master key: a digest that says nothing of it; NULL: not known, from before migration 6';
GRANT INSERT (wrapped_by) ON audit.subject_key TO citadel_app;

CREATE FUNCTION audit.rewrap_subject_keys(ids bigint[], before bytea[], after bytea[], master bytea, who text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  done bigint;
BEGIN
  IF cardinality(ids) > 1000 OR cardinality(before) <> cardinality(ids) OR cardinality(after) <> cardinality(ids) THEN
    RAISE EXCEPTION 'at most 1000 keys a call, each with its wrapping before and after' USING ERRCODE = 'program_limit_exceeded';
  END IF;
  -- A key that was destroyed or wrapped anew meanwhile stays as it is.
  UPDATE audit.subject_key k SET wrapped_key = u.after, wrapped_by = master
    FROM unnest(ids, before, after) AS u (id, before, after)
   WHERE k.id = u.id AND k.wrapped_key = u.before AND k.destroyed_at IS NULL;
  GET DIAGNOSTICS done = ROW_COUNT;
  IF done > 0 THEN
    INSERT INTO audit.pending (action, object_type, object, reason, details)
    VALUES ('audit.key_rotated', 'master_key', encode(master, 'hex'), format('%s keys of subjects were wrapped anew', done),
            json_build_object('keys', done, 'first', ids[1], 'last', ids[cardinality(ids)], 'rotated_by', who));
  END IF;
  RETURN done;
END $$;
COMMENT ON FUNCTION audit.rewrap_subject_keys(bigint[], bytea[], bytea[], bytea, text) IS
  'Replaces the wrapping of keys that are still as they were read, and leaves an entry; returns how many';
REVOKE ALL ON FUNCTION audit.rewrap_subject_keys(bigint[], bytea[], bytea[], bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.rewrap_subject_keys(bigint[], bytea[], bytea[], bytea, text) TO citadel_app;

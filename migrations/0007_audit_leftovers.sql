-- What retention, erasure and rotation did not reach: audit.conflict and citadel.dead_letter; and the beginning of the log,
-- once nothing is left of what it was about. How and why: docs/audit.md. Locks as in 0006. Run as citadel_owner, in one
-- transaction, by the migration runner.

-- ---------------------------------------------------------------------------------------------------------------------
-- audit.conflict. Its guard lets what audit.rewrap_conflicts() does pass, too.

ALTER TABLE audit.conflict ADD COLUMN retention smallint CHECK (retention BETWEEN 1 AND 3);
COMMENT ON COLUMN audit.conflict.retention IS 'the class that the event itself is of; NULL: not known, from before migration 7, and kept as long as any';
COMMENT ON TABLE audit.conflict IS
  'Acknowledged events whose id was taken by other content: as the journal had them, but for the wrapping of their key';

CREATE OR REPLACE FUNCTION audit.refuse_change() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('citadel.audit_erasing', true) = 'on' THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'conflict' AND current_setting('citadel.audit_rewrapping', true) = 'on' THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION '% on %.% is refused: the audit trail is append-only', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege',
          HINT = 'Content is removed by audit.erase_subject() alone, which checks holds and leaves an entry.';
END $$;
COMMENT ON FUNCTION audit.refuse_change() IS
  'Trigger: refuses UPDATE, DELETE and TRUNCATE, but for a DELETE by an erasure or retention, and a key wrapped anew';

-- ---------------------------------------------------------------------------------------------------------------------
-- Retention. Both go by the month of their arrival. A dead letter is nobody's: it is kept like the class `extended`, and by
-- any hold. What is in audit.conflict is sealed: a hold of an object or of a time covers it where tenant and subject are its.

CREATE FUNCTION audit.leftover_months(keep_seconds bigint[])
  RETURNS TABLE (kept_in text, retention smallint, month timestamptz, events bigint, due_at timestamptz, held_by uuid)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
  IF cardinality(keep_seconds) <> 3 OR (SELECT min(s) FROM unnest(keep_seconds) AS s) < 86400 THEN
    RAISE EXCEPTION 'each of the three classes is kept for a day at least' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN QUERY
  SELECT m.kept_in, m.retention, m.month, m.events, m.month + interval '1 month' + make_interval(secs => keep_seconds[m.retention]),
         (SELECT h.id FROM audit.hold h
           WHERE h.released_at IS NULL
             AND (m.kept_in = 'citadel.dead_letter' OR EXISTS (
               SELECT FROM audit.conflict c
                WHERE c.received_at >= m.month AND c.received_at < m.month + interval '1 month'
                  AND coalesce(c.retention, 3) = m.retention
                  AND c.tenant = coalesce(h.tenant, c.tenant) AND c.subject = coalesce(h.subject, c.subject)))
           ORDER BY h.placed_at, h.id LIMIT 1)
    FROM (SELECT 'audit.conflict' AS kept_in, coalesce(c.retention, 3::smallint) AS retention,
                 date_trunc('month', c.received_at) AS month, count(*) AS events
            FROM audit.conflict c GROUP BY 2, 3
          UNION ALL
          SELECT 'citadel.dead_letter', 3::smallint, date_trunc('month', d.received_at), count(*)
            FROM citadel.dead_letter d GROUP BY 3) m
   ORDER BY 5, 1, 2, 3;
END $$;
COMMENT ON FUNCTION audit.leftover_months(bigint[]) IS
  'The months of audit.conflict, by class, and of citadel.dead_letter: when each is due, and the oldest hold that keeps it';
REVOKE ALL ON FUNCTION audit.leftover_months(bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.leftover_months(bigint[]) TO citadel_app;

-- One month of one of them. The log's lock too: so nothing comes between the look and the DELETE. No wait longer than
-- lock_timeout, as in audit.drop_month().
CREATE FUNCTION audit.drop_leftovers(keep_seconds bigint[], of_kept_in text, of_retention smallint, of_month timestamptz, who text)
  RETURNS TABLE (outcome text, events bigint, held_by uuid)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
  run uuid;
  due timestamptz;
  named text := of_kept_in || ' ' || (ARRAY['short', 'standard', 'extended'])[of_retention] || '/' || to_char(of_month, 'YYYY-MM');
  kept text := keep_seconds[of_retention] / 86400 || ' days';
BEGIN
  PERFORM pg_advisory_xact_lock(4850147, 4);
  PERFORM pg_advisory_xact_lock(4850147, 2);
  SELECT m.due_at, m.held_by INTO due, held_by FROM audit.leftover_months(keep_seconds) m
   WHERE m.kept_in = of_kept_in AND m.retention = of_retention AND m.month = of_month;
  events := 0;
  IF due IS NULL OR due > clock_timestamp() THEN
    outcome := 'not due';
    held_by := NULL;
    RETURN NEXT;
    RETURN;
  END IF;
  IF held_by IS NOT NULL THEN
    outcome := 'held';
    IF NOT EXISTS (SELECT FROM audit.retention_run r WHERE r.partition = named AND r.held_by = drop_leftovers.held_by) THEN
      INSERT INTO audit.retention_run (before, events, retention, ran_by, partition, held_by)
      VALUES (clock_timestamp() - make_interval(secs => keep_seconds[of_retention]), 0, of_retention, who, named,
              drop_leftovers.held_by) RETURNING id INTO run;
      INSERT INTO audit.pending (id, action, object_type, object, reason, details)
      VALUES (run, 'audit.retention_run', 'audit_leftovers_held', named,
              format('kept, because the hold %s may cover some of it', drop_leftovers.held_by),
              json_build_object('hold', drop_leftovers.held_by, 'ran_by', who));
    END IF;
    RETURN NEXT;
    RETURN;
  END IF;
  outcome := 'dropped';
  IF of_kept_in = 'audit.conflict' THEN
    PERFORM set_config('citadel.audit_erasing', 'on', true);
    DELETE FROM audit.conflict c
     WHERE c.received_at >= of_month AND c.received_at < of_month + interval '1 month' AND coalesce(c.retention, 3) = of_retention;
    GET DIAGNOSTICS events = ROW_COUNT;
    PERFORM set_config('citadel.audit_erasing', 'off', true);
  ELSE
    DELETE FROM citadel.dead_letter d WHERE d.received_at >= of_month AND d.received_at < of_month + interval '1 month';
    GET DIAGNOSTICS events = ROW_COUNT;
  END IF;
  INSERT INTO audit.retention_run (before, events, retention, ran_by, partition)
  VALUES (clock_timestamp() - make_interval(secs => keep_seconds[of_retention]), drop_leftovers.events, of_retention, who, named)
  RETURNING id INTO run;
  INSERT INTO audit.pending (id, action, object_type, object, reason, details)
  VALUES (run, 'audit.retention_run', 'audit_leftovers', named, format('%s rows were kept for %s', drop_leftovers.events, kept),
          json_build_object('rows', drop_leftovers.events, 'kept', kept, 'ran_by', who));
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION audit.drop_leftovers(bigint[], text, smallint, timestamptz, text) IS
  'Removes a month of audit.conflict or citadel.dead_letter where it is due and no hold may cover it; leaves a row in audit.retention_run and an entry';
REVOKE ALL ON FUNCTION audit.drop_leftovers(bigint[], text, smallint, timestamptz, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.drop_leftovers(bigint[], text, smallint, timestamptz, text) TO citadel_app;

-- ---------------------------------------------------------------------------------------------------------------------
-- Rotation of the master key.

-- What the journal had stays as it was, but for the wrapped key: 60 bytes, as CBOR has them.
CREATE FUNCTION audit.rewrapped(record bytea, before bytea, after bytea) RETURNS bytea
  LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN octet_length(before) = 60 AND octet_length(after) = 60 AND p.place > 0
                   AND position('\x583c' || before IN substring(record FROM p.place + 1)) = 0
              THEN overlay(record PLACING after FROM p.place + 2) END
    FROM (SELECT position('\x583c' || before IN record) AS place) p
$$;
COMMENT ON FUNCTION audit.rewrapped(bytea, bytea, bytea) IS
  'An event as the journal had it, its wrapped key replaced; NULL where the one that is to go does not stand in it exactly once';
REVOKE ALL ON FUNCTION audit.rewrapped(bytea, bytea, bytea) FROM PUBLIC;

CREATE FUNCTION audit.rewrap_conflicts(indexes bigint[], before bytea[], after bytea[], master bytea, who text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  done bigint;
BEGIN
  IF cardinality(indexes) > 1000 OR cardinality(before) <> cardinality(indexes) OR cardinality(after) <> cardinality(indexes) THEN
    RAISE EXCEPTION 'at most 1000 rows a call, each before and after' USING ERRCODE = 'program_limit_exceeded';
  END IF;
  PERFORM set_config('citadel.audit_rewrapping', 'on', true);
  UPDATE audit.conflict c SET record = audit.rewrapped(c.record, u.before, u.after)
    FROM unnest(indexes, before, after) AS u (idx, before, after)
   WHERE c.idx = u.idx AND audit.rewrapped(c.record, u.before, u.after) IS NOT NULL;
  GET DIAGNOSTICS done = ROW_COUNT;
  PERFORM set_config('citadel.audit_rewrapping', 'off', true);
  IF done > 0 THEN
    INSERT INTO audit.pending (action, object_type, object, reason, details)
    VALUES ('audit.key_rotated', 'master_key', encode(master, 'hex'), format('%s keys in audit.conflict were wrapped anew', done),
            json_build_object('conflicts', done, 'rotated_by', who));
  END IF;
  RETURN done;
END $$;
COMMENT ON FUNCTION audit.rewrap_conflicts(bigint[], bytea[], bytea[], bytea, text) IS
  'Replaces the wrapped keys that still stand in their records, and leaves an entry; returns how many';
REVOKE ALL ON FUNCTION audit.rewrap_conflicts(bigint[], bytea[], bytea[], bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.rewrap_conflicts(bigint[], bytea[], bytea[], bytea, text) TO citadel_app;

-- The table is watched, so each row leaves an entry of its own, too.
CREATE FUNCTION audit.rewrap_dead_letters(producers uuid[], epochs bigint[], sequences bigint[], before bytea[], after bytea[],
                                          master bytea, who text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  done bigint;
BEGIN
  IF cardinality(producers) > 1000 OR cardinality(epochs) <> cardinality(producers) OR cardinality(sequences) <> cardinality(producers)
     OR cardinality(before) <> cardinality(producers) OR cardinality(after) <> cardinality(producers) THEN
    RAISE EXCEPTION 'at most 1000 rows a call, each before and after' USING ERRCODE = 'program_limit_exceeded';
  END IF;
  UPDATE citadel.dead_letter d SET payload = audit.rewrapped(d.payload, u.before, u.after)
    FROM unnest(producers, epochs, sequences, before, after) AS u (producer, epoch, sequence, before, after)
   WHERE d.producer = u.producer AND d.epoch = u.epoch AND d.sequence = u.sequence
     AND audit.rewrapped(d.payload, u.before, u.after) IS NOT NULL;
  GET DIAGNOSTICS done = ROW_COUNT;
  IF done > 0 THEN
    INSERT INTO audit.pending (action, object_type, object, reason, details)
    VALUES ('audit.key_rotated', 'master_key', encode(master, 'hex'), format('%s keys in citadel.dead_letter were wrapped anew', done),
            json_build_object('dead_letters', done, 'rotated_by', who));
  END IF;
  RETURN done;
END $$;
COMMENT ON FUNCTION audit.rewrap_dead_letters(uuid[], bigint[], bigint[], bytea[], bytea[], bytea, text) IS
  'Replaces the wrapped keys that still stand in their payloads, and leaves an entry; returns how many';
REVOKE ALL ON FUNCTION audit.rewrap_dead_letters(uuid[], bigint[], bigint[], bytea[], bytea[], bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.rewrap_dead_letters(uuid[], bigint[], bigint[], bytea[], bytea[], bytea, text) TO citadel_app;

-- ---------------------------------------------------------------------------------------------------------------------
-- Erasure. As in 0006, and: the dead letters that the daemon could read and found to be the subject's go too. It looks for
-- them in the same transaction, under the locks that are taken here.

ALTER TABLE audit.erasure ADD COLUMN dead_letters bigint NOT NULL DEFAULT 0;

DROP FUNCTION audit.erase_subject(text, text, text, text);
CREATE FUNCTION audit.erase_subject(of_tenant text, of_subject text, why text, who text, letter_producers uuid[] DEFAULT '{}',
                                    letter_epochs bigint[] DEFAULT '{}', letter_sequences bigint[] DEFAULT '{}') RETURNS uuid
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
  IF cardinality(letter_epochs) <> cardinality(letter_producers) OR cardinality(letter_sequences) <> cardinality(letter_producers) THEN
    RAISE EXCEPTION 'each dead letter has a producer, an epoch and a sequence' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(4850147, 4);
  PERFORM pg_advisory_xact_lock(4850147, 2);
  held := audit.hold_of_subject(of_tenant, of_subject);
  -- Whose a dead letter is, cannot be looked into here, and is the caller's word alone: so any hold keeps it.
  IF held IS NULL AND cardinality(letter_producers) > 0 THEN
    SELECT h.id INTO held FROM audit.hold h WHERE h.released_at IS NULL ORDER BY h.placed_at, h.id LIMIT 1;
  END IF;
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
  DELETE FROM citadel.dead_letter d USING unnest(letter_producers, letter_epochs, letter_sequences) AS u (producer, epoch, sequence)
   WHERE d.producer = u.producer AND d.epoch = u.epoch AND d.sequence = u.sequence;
  GET DIAGNOSTICS done.dead_letters = ROW_COUNT;
  UPDATE audit.subject_key SET wrapped_key = '', destroyed_at = clock_timestamp()
   WHERE tenant = of_tenant AND subject = of_subject AND destroyed_at IS NULL;
  GET DIAGNOSTICS done.keys = ROW_COUNT;
  UPDATE audit.hold SET subject = 'sha256:' || audit.subject_digest(of_subject)
   WHERE subject = of_subject AND coalesce(tenant, of_tenant) = of_tenant AND released_at IS NOT NULL;
  GET DIAGNOSTICS names = ROW_COUNT;
  IF done.events + done.groups + done.conflicts + done.dead_letters + done.keys + names = 0 THEN
    RETURN NULL;
  END IF;
  INSERT INTO audit.erasure (events, groups, keys, conflicts, dead_letters, tenant, subject_digest, reason, erased_by)
  VALUES (done.events, done.groups, done.keys, done.conflicts, done.dead_letters, of_tenant,
          decode(audit.subject_digest(of_subject), 'hex'), why, who)
  RETURNING id, at INTO done.id, done.at;
  INSERT INTO audit.pending (id, action, object_type, object, tenant, reason, details)
  SELECT CASE WHEN part = 1 THEN done.id ELSE audit.new_id() END, 'audit.erasure', 'subject', audit.subject_digest(of_subject),
         of_tenant, why,
         json_build_object('erasure', done.id, 'part', part, 'parts', coalesce(cardinality(parts), 1), 'at', done.at, 'erased_by', who,
                           'events', done.events, 'groups', done.groups, 'conflicts', done.conflicts,
                           'dead_letters', done.dead_letters, 'keys', done.keys, 'entries', coalesce(parts[part], '[]'))
    FROM generate_series(1, coalesce(cardinality(parts), 1)) AS part;
  RETURN done.id;
END $$;
COMMENT ON FUNCTION audit.erase_subject(text, text, text, text, uuid[], bigint[], bigint[]) IS
  'Destroys a subject''s keys, rows and salts, unless a hold keeps them; leaves a row in audit.erasure and an entry, both of the id that it returns; NULL where nothing was there';
REVOKE ALL ON FUNCTION audit.erase_subject(text, text, text, text, uuid[], bigint[], bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.erase_subject(text, text, text, text, uuid[], bigint[], bigint[]) TO citadel_app;

-- ---------------------------------------------------------------------------------------------------------------------
-- The beginning of the log. Its entries may go once nothing is left of what they were about; their hashes stay in the tree,
-- so that every proof of what follows stays good. For the owner alone: no daemon does this.

CREATE FUNCTION audit.prune_entries(below bigint, why text, who text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
  head audit.head;
  part record;
  gone regclass[] := '{}';
  first_kept bigint;
  first_gone bigint;
  there bigint;
  last_time timestamptz;
  left_over bigint;
  run uuid;
  named text;
BEGIN
  IF why = '' OR who = '' THEN
    RAISE EXCEPTION 'to prune needs a reason and who does it' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(4850147, 4);
  PERFORM pg_advisory_xact_lock(4850147, 3);
  PERFORM pg_advisory_xact_lock(4850147, 2);
  SELECT * INTO head FROM audit.head;
  FOR part IN
    SELECT c.oid::regclass AS partition, b.bounds[1]::bigint AS low, b.bounds[2]::bigint AS high
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
           regexp_match(pg_get_expr(c.relpartbound, c.oid), '\(''?(\d+)''?\) TO \(''?(\d+)''?\)') AS b (bounds)
     WHERE i.inhparent = 'audit.entry'::regclass AND b.bounds IS NOT NULL AND NOT i.inhdetachpending ORDER BY 2
  LOOP
    EXIT WHEN part.high > below OR part.high >= head.size;
    -- What is named below begins with 0: it must not speak for entries that went in another way.
    IF part.low <> coalesce(first_kept, 0) AND (first_kept IS NOT NULL OR NOT EXISTS (
         SELECT FROM audit.retention_run r WHERE r.partition = 'audit.entry 0-' || part.low - 1 AND r.held_by IS NULL)) THEN
      RAISE EXCEPTION 'entries % to % are not there, and were not pruned', coalesce(first_kept, 0), part.low - 1
        USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Restore them from a backup first, or prune no further.';
    END IF;
    gone := gone || part.partition;
    first_gone := coalesce(first_gone, part.low);
    first_kept := part.high;
  END LOOP;
  IF first_kept IS NULL THEN
    RETURN 0;
  END IF;
  IF first_kept % 256 <> 0 THEN
    RAISE EXCEPTION 'the log can begin at a multiple of 256 only, not at %', first_kept USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT count(*), max(time) INTO there, last_time FROM audit.entry WHERE idx < first_kept;
  IF there <> first_kept - first_gone THEN
    RAISE EXCEPTION '% entries below % are not there, and were not pruned', first_kept - first_gone - there, first_kept
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Restore them from a backup first, or prune no further.';
  END IF;
  SELECT min(idx) INTO left_over
    FROM (SELECT min(idx) AS idx FROM audit.event WHERE time <= last_time AND idx < first_kept
          UNION ALL SELECT min(idx) FROM audit.sealed WHERE time <= last_time AND idx < first_kept
          UNION ALL SELECT min(idx) FROM audit.conflict WHERE idx < first_kept
          UNION ALL SELECT min(e.idx) FROM citadel.dead_letter d JOIN audit.entry e USING (producer, epoch, sequence)
                     WHERE e.idx < first_kept) l;
  IF left_over IS NOT NULL THEN
    RAISE EXCEPTION 'the content of entry % is still there', left_over
      USING ERRCODE = 'object_in_use', HINT = 'Retention drops content when its time is over and no hold covers it; entries go after it.';
  END IF;
  FOR part IN SELECT u.partition FROM unnest(gone) AS u (partition) LOOP
    EXECUTE format('DROP TABLE %s', part.partition);
  END LOOP;
  named := '0-' || first_kept - 1;  -- with what went before: so the newest says it all
  INSERT INTO audit.retention_run (before, events, retention, ran_by, partition)
  VALUES (last_time, first_kept - first_gone, 3, who, 'audit.entry ' || named) RETURNING id INTO run;
  INSERT INTO audit.pending (id, action, object_type, object, reason, details)
  VALUES (run, 'audit.retention_run', 'audit_entries', named, why,
          json_build_object('entries', first_kept - first_gone, 'first_gone', first_gone, 'first_kept', first_kept, 'last_time', last_time, 'ran_by', who));
  RETURN first_kept - first_gone;
END $$;
COMMENT ON FUNCTION audit.prune_entries(bigint, text, text) IS
  'Drops the partitions of audit.entry that lie wholly below an index and of which no content is left; the tree stays; leaves an entry; returns how many entries went';
REVOKE ALL ON FUNCTION audit.prune_entries(bigint, text, text) FROM PUBLIC;

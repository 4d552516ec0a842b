-- The audit trail: entries that are never changed, the Merkle tree over them, their content beside them, and what
-- triggers saw of changes of state. How and why: docs/decisions/0004-audit-trail.md. Run as citadel_owner, in one
-- transaction, by the migration runner.

CREATE SCHEMA audit;
COMMENT ON SCHEMA audit IS 'The audit trail: append-only entries, the tree over them, and their content, which alone can be erased';
REVOKE ALL ON SCHEMA audit FROM PUBLIC;
GRANT USAGE ON SCHEMA audit TO citadel_app;

-- ---------------------------------------------------------------------------------------------------------------------
-- Guards. Grants keep the daemon's role from changing what is written; these keep everybody from doing it by accident,
-- the owner and a superuser too. Who means it can disable a trigger, and the signed checkpoint outside the database
-- then shows what was done. No SQLSTATE of class 22 or 23: the drain would take it for a fault of the record.

CREATE FUNCTION audit.refuse_change() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('citadel.audit_erasing', true) = 'on' THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION '% on %.% is refused: the audit trail is append-only', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege',
          HINT = 'Content is removed by audit.erase_subject() alone, which checks holds and leaves an entry.';
END $$;
COMMENT ON FUNCTION audit.refuse_change() IS 'Trigger: refuses UPDATE, DELETE and TRUNCATE, but for a DELETE by audit.erase_subject()';

-- Statement triggers of a partitioned table do not fire for a statement on a partition, so each partition has its own.
CREATE FUNCTION audit.guard(kept regclass) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s FOR EACH STATEMENT '
                 'EXECUTE FUNCTION audit.refuse_change()', kept);
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', kept);
END $$;
COMMENT ON FUNCTION audit.guard(regclass) IS 'Makes a table append-only, for its owner too, also where session_replication_role is replica';
REVOKE ALL ON FUNCTION audit.guard(regclass) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------
-- The log.

CREATE TABLE audit.head (
  size             bigint NOT NULL DEFAULT 0 CHECK (size >= 0),
  fence            bigint NOT NULL DEFAULT 0 CHECK (fence >= 0),
  epoch            bigint NOT NULL DEFAULT 0,
  pending_sequence bigint NOT NULL DEFAULT 0 CHECK (pending_sequence >= 0),
  updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  producer         uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  pending_producer uuid NOT NULL DEFAULT gen_random_uuid(),
  only_row         boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  root             bytea NOT NULL DEFAULT sha256('') CHECK (octet_length(root) = 32),
  origin           text NOT NULL DEFAULT '' CHECK (octet_length(origin) <= 200)
);
COMMENT ON TABLE audit.head IS 'How long the log is and the root of its tree: one row, locked by whoever appends, moved in the same transaction as the entries';
COMMENT ON COLUMN audit.head.size IS 'entries in the log: the next one gets this index';
COMMENT ON COLUMN audit.head.fence IS 'one more whenever another journal (producer, epoch) takes over appending';
COMMENT ON COLUMN audit.head.epoch IS 'of the journal that appended last';
COMMENT ON COLUMN audit.head.producer IS 'the journal that appended last';
COMMENT ON COLUMN audit.head.pending_producer IS 'the producer of entries from audit.pending: this database itself, epoch 1';
COMMENT ON COLUMN audit.head.pending_sequence IS 'the sequence of the last entry from audit.pending';
COMMENT ON COLUMN audit.head.root IS 'RFC 6962 tree head of all entries; SHA-256 of nothing for none';
COMMENT ON COLUMN audit.head.origin IS 'the log''s name, first line of its checkpoints; set once';
INSERT INTO audit.head DEFAULT VALUES;

CREATE FUNCTION audit.guard_head() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.size < OLD.size OR NEW.fence < OLD.fence OR NEW.pending_sequence < OLD.pending_sequence
     OR NEW.pending_producer <> OLD.pending_producer
     OR (NEW.root <> OLD.root AND NEW.size = OLD.size)
     OR (NEW.origin <> OLD.origin AND OLD.origin <> '') THEN
    RAISE EXCEPTION 'the head of the audit log only grows, and its name does not change'
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION audit.guard_head() IS 'Trigger: the head only grows';
CREATE TRIGGER only_grows BEFORE UPDATE ON audit.head FOR EACH ROW EXECUTE FUNCTION audit.guard_head();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON audit.head FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.head ENABLE ALWAYS TRIGGER only_grows;
ALTER TABLE audit.head ENABLE ALWAYS TRIGGER append_only;
GRANT SELECT ON audit.head TO citadel_app;
GRANT UPDATE (size, fence, epoch, pending_sequence, updated_at, producer, root, origin) ON audit.head TO citadel_app;

CREATE TABLE audit.entry (
  idx         bigint NOT NULL,
  epoch       bigint NOT NULL,
  sequence    bigint NOT NULL,
  time        timestamptz NOT NULL,
  received_at timestamptz NOT NULL,
  id          uuid NOT NULL,
  producer    uuid NOT NULL,
  retention   smallint NOT NULL,
  leaf        bytea NOT NULL,
  PRIMARY KEY (idx)
) PARTITION BY RANGE (idx);
COMMENT ON TABLE audit.entry IS 'One row an entry of the log, for ever: its leaf holds nothing personal; partitions of 4,194,304 indexes';
COMMENT ON COLUMN audit.entry.idx IS 'place in the log, from 0, without a gap';
COMMENT ON COLUMN audit.entry.epoch IS 'of the journal: one more at each of its starts';
COMMENT ON COLUMN audit.entry.sequence IS 'place in the journal''s epoch, from 1, without a gap';
COMMENT ON COLUMN audit.entry.time IS 'when it happened, as the producer says; with retention it leads to the row of audit.event';
COMMENT ON COLUMN audit.entry.received_at IS 'when a daemon took it';
COMMENT ON COLUMN audit.entry.producer IS 'the journal, or the database itself: audit.head.pending_producer';
COMMENT ON COLUMN audit.entry.retention IS '1 short, 2 standard, 3 extended';
COMMENT ON COLUMN audit.entry.leaf IS 'the very bytes that the tree is of: deterministic CBOR, see src/audit/leaf.hpp';
-- Not unique, because the partition's key is not in it: the sequencer looks here while it holds the log.
CREATE INDEX entry_by_id ON audit.entry (id);
SELECT audit.guard('audit.entry');
GRANT SELECT, INSERT ON audit.entry TO citadel_app;

CREATE TABLE audit.entry_partition (
  first_idx bigint PRIMARY KEY,
  made_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE audit.entry_partition IS 'When each partition of audit.entry was made: no entry in it was appended before; bounds the search for repeats';
GRANT SELECT ON audit.entry_partition TO citadel_app;

CREATE TABLE audit.tile (
  idx    bigint NOT NULL CHECK (idx >= 0),
  level  smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
  hashes bytea NOT NULL CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0),
  PRIMARY KEY (level, idx)
);
COMMENT ON TABLE audit.tile IS 'The tree''s hashes, 256 a tile (C2SP tlog-tiles); a tile that is not full grows in place, a full one never changes';
GRANT SELECT, INSERT ON audit.tile TO citadel_app;
GRANT UPDATE (hashes) ON audit.tile TO citadel_app;

CREATE FUNCTION audit.guard_tile() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.level <> OLD.level OR NEW.idx <> OLD.idx
     OR substring(NEW.hashes FROM 1 FOR octet_length(OLD.hashes)) <> OLD.hashes THEN
    RAISE EXCEPTION 'a tile of the audit log only grows: level %, index %', OLD.level, OLD.idx
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION audit.guard_tile() IS 'Trigger: a tile keeps the hashes that it has';
CREATE TRIGGER only_grows BEFORE UPDATE ON audit.tile FOR EACH ROW EXECUTE FUNCTION audit.guard_tile();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON audit.tile FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.tile ENABLE ALWAYS TRIGGER only_grows;
ALTER TABLE audit.tile ENABLE ALWAYS TRIGGER append_only;

-- ---------------------------------------------------------------------------------------------------------------------
-- The content, which can be erased.

CREATE TABLE audit.subject_key (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  destroyed_at timestamptz,
  tenant       text NOT NULL,
  subject      text NOT NULL,
  wrapped_key  bytea NOT NULL,
  CHECK ((destroyed_at IS NULL) = (octet_length(wrapped_key) > 0))
);
COMMENT ON TABLE audit.subject_key IS 'The key under which the field groups of a subject''s events are sealed; destroying it destroys what it sealed';
COMMENT ON COLUMN audit.subject_key.subject IS 'whose data it is; empty: the tenant''s own';
COMMENT ON COLUMN audit.subject_key.wrapped_key IS 'under a key derived from the master key; empty once destroyed';
CREATE UNIQUE INDEX subject_key_live ON audit.subject_key (tenant, subject) WHERE destroyed_at IS NULL;
GRANT SELECT ON audit.subject_key TO citadel_app;
GRANT INSERT (tenant, subject, wrapped_key) ON audit.subject_key TO citadel_app;

-- Fixed-width columns first, so that no row has padding inside.
CREATE TABLE audit.event (
  idx          bigint NOT NULL,
  time         timestamptz NOT NULL,
  received_at  timestamptz NOT NULL,
  id           uuid NOT NULL,
  retention    smallint NOT NULL,
  class        smallint NOT NULL,
  severity     smallint NOT NULL,
  outcome      smallint NOT NULL,
  trace_id     uuid,
  tenant       text NOT NULL,
  actor_type   text NOT NULL,
  actor        text NOT NULL,
  action       text NOT NULL,
  object_type  text NOT NULL,
  object       text NOT NULL,
  request_id   text,
  subject      text NOT NULL,
  reason       text NOT NULL,
  salt         bytea NOT NULL CHECK (octet_length(salt) = 32),
  envelope     bytea NOT NULL,
  PRIMARY KEY (time, idx, retention)
) PARTITION BY LIST (retention);
COMMENT ON TABLE audit.event IS 'What each entry says: the envelope''s very bytes, and its fields as columns for search; by retention class and month of time';
COMMENT ON COLUMN audit.event.idx IS 'the entry';
COMMENT ON COLUMN audit.event.class IS '1 identity, 2 change, 3 use, 4 audit, 5 operation';
COMMENT ON COLUMN audit.event.severity IS '1 info, 2 notice, 3 warning, 4 critical';
COMMENT ON COLUMN audit.event.outcome IS '1 success, 2 failure, 3 denied, 4 unknown';
COMMENT ON COLUMN audit.event.trace_id IS 'W3C trace id';
COMMENT ON COLUMN audit.event.subject IS 'whose data the field groups hold; empty: the tenant''s own';
COMMENT ON COLUMN audit.event.salt IS 'of the envelope''s commitment in the leaf';
COMMENT ON COLUMN audit.event.envelope IS 'group 0 of the entry, the very bytes that are committed to; the columns are a view of it';
-- Each search is answered newest first from the end of one of these. PRIMARY KEY: no filter, and the way from an entry.
CREATE INDEX event_by_tenant ON audit.event (tenant, time, idx);
CREATE INDEX event_by_actor ON audit.event (actor, time, idx);
CREATE INDEX event_by_action ON audit.event (action, time, idx);
CREATE INDEX event_by_object ON audit.event (object, time, idx) WHERE object <> '';
-- What did not succeed is little, and what people look for.
CREATE INDEX event_by_outcome ON audit.event (outcome, time, idx) WHERE outcome <> 1;
CREATE INDEX event_by_trace ON audit.event (trace_id, time, idx) WHERE trace_id IS NOT NULL;
CREATE INDEX event_by_request ON audit.event (request_id, time, idx) WHERE request_id IS NOT NULL;
CREATE INDEX event_by_subject ON audit.event (tenant, subject) WHERE subject <> '';
-- Words of the open fields, whatever stands between them.
CREATE INDEX event_by_word ON audit.event USING gin (to_tsvector('simple'::regconfig, translate(
  action || ' ' || actor || ' ' || object_type || ' ' || object || ' ' || reason, './:@_-', '      ')));
CREATE TABLE audit.event_short PARTITION OF audit.event FOR VALUES IN (1) PARTITION BY RANGE (time);
CREATE TABLE audit.event_standard PARTITION OF audit.event FOR VALUES IN (2) PARTITION BY RANGE (time);
CREATE TABLE audit.event_extended PARTITION OF audit.event FOR VALUES IN (3) PARTITION BY RANGE (time);
COMMENT ON TABLE audit.event_short IS 'audit.event of the retention class short, by month';
COMMENT ON TABLE audit.event_standard IS 'audit.event of the retention class standard, by month';
COMMENT ON TABLE audit.event_extended IS 'audit.event of the retention class extended, by month';
GRANT SELECT, INSERT ON audit.event TO citadel_app;

CREATE TABLE audit.sealed (
  idx         bigint NOT NULL,
  time        timestamptz NOT NULL,
  key_id      bigint NOT NULL,
  retention   smallint NOT NULL,
  grp         smallint NOT NULL CHECK (grp BETWEEN 1 AND 4),
  wrapped_key bytea NOT NULL,
  ciphertext  bytea NOT NULL,
  PRIMARY KEY (time, idx, grp, retention)
) PARTITION BY LIST (retention);
COMMENT ON TABLE audit.sealed IS 'The field groups of entries, encrypted, a row each; partitioned like audit.event';
COMMENT ON COLUMN audit.sealed.key_id IS 'audit.subject_key that wraps the data key';
COMMENT ON COLUMN audit.sealed.grp IS '1 prompt, 2 response, 3 tool, 4 details';
COMMENT ON COLUMN audit.sealed.wrapped_key IS 'the event''s data key under the subject''s';
COMMENT ON COLUMN audit.sealed.ciphertext IS 'nonce, AES-256-GCM of salt and bytes, tag';
CREATE INDEX sealed_by_key ON audit.sealed (key_id);
CREATE TABLE audit.sealed_short PARTITION OF audit.sealed FOR VALUES IN (1) PARTITION BY RANGE (time);
CREATE TABLE audit.sealed_standard PARTITION OF audit.sealed FOR VALUES IN (2) PARTITION BY RANGE (time);
CREATE TABLE audit.sealed_extended PARTITION OF audit.sealed FOR VALUES IN (3) PARTITION BY RANGE (time);
COMMENT ON TABLE audit.sealed_short IS 'audit.sealed of the retention class short, by month';
COMMENT ON TABLE audit.sealed_standard IS 'audit.sealed of the retention class standard, by month';
COMMENT ON TABLE audit.sealed_extended IS 'audit.sealed of the retention class extended, by month';
GRANT SELECT, INSERT ON audit.sealed TO citadel_app;

SELECT audit.guard(kept) FROM unnest(ARRAY[
  'audit.event', 'audit.event_short', 'audit.event_standard', 'audit.event_extended',
  'audit.sealed', 'audit.sealed_short', 'audit.sealed_standard', 'audit.sealed_extended']::regclass[]) AS kept;

CREATE TABLE audit.conflict (
  idx         bigint PRIMARY KEY,
  received_at timestamptz NOT NULL,
  id          uuid NOT NULL,
  tenant      text NOT NULL,
  subject     text NOT NULL,
  record      bytea NOT NULL
);
COMMENT ON TABLE audit.conflict IS 'Acknowledged events whose id was taken by other content: kept byte for byte as the journal had them';
COMMENT ON COLUMN audit.conflict.idx IS 'the audit.id_conflict entry that stands in the log in its place';
COMMENT ON COLUMN audit.conflict.id IS 'the id that was taken';
CREATE INDEX conflict_by_subject ON audit.conflict (tenant, subject);
SELECT audit.guard('audit.conflict');
GRANT SELECT, INSERT ON audit.conflict TO citadel_app;

-- ---------------------------------------------------------------------------------------------------------------------
-- Partitions. Each is made as a table of its own and attached, because that, unlike CREATE TABLE … PARTITION OF, locks
-- out neither readers nor writers. What counts is what is attached, not what a table is called: see
-- docs/decisions/0003-partitions-by-month.md.

CREATE FUNCTION audit.free_name(base text) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  name text := base;
  number integer := 1;
BEGIN
  WHILE to_regclass(format('audit.%I', name)) IS NOT NULL LOOP
    number := number + 1;
    name := base || '_' || number;
  END LOOP;
  RETURN name;
END $$;
COMMENT ON FUNCTION audit.free_name(text) IS 'The name, or the name with a number where a detached table still has it';
REVOKE ALL ON FUNCTION audit.free_name(text) FROM PUBLIC;

CREATE FUNCTION audit.ensure_entry_partitions(entries bigint) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  width constant bigint := 4194304;
  first bigint;
  wanted bigint;
  name text;
BEGIN
  IF entries < 0 OR entries > 1000000 THEN
    RAISE EXCEPTION 'from 0 to 1000000 entries, not %', entries USING ERRCODE = 'program_limit_exceeded';
  END IF;
  PERFORM pg_advisory_xact_lock(4850147, 3);
  SELECT size + entries + width / 2 INTO wanted FROM audit.head;
  SELECT coalesce(max(first_idx) + width, 0) INTO first FROM audit.entry_partition;
  WHILE first <= wanted LOOP
    name := audit.free_name('entry_' || lpad((first / width)::text, 6, '0'));
    EXECUTE format('CREATE TABLE audit.%I (LIKE audit.entry INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE audit.entry ATTACH PARTITION audit.%I FOR VALUES FROM (%s) TO (%s)', name, first, first + width);
    PERFORM audit.guard(format('audit.%I', name)::regclass);
    INSERT INTO audit.entry_partition (first_idx) VALUES (first);
    first := first + width;
  END LOOP;
  RETURN first;
END $$;
COMMENT ON FUNCTION audit.ensure_entry_partitions(bigint) IS
  'Makes partitions for that many more entries and half a partition beyond; returns the first index that has none';
REVOKE ALL ON FUNCTION audit.ensure_entry_partitions(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.ensure_entry_partitions(bigint) TO citadel_app;

CREATE FUNCTION audit.month_partitions(parent regclass)
  RETURNS TABLE (partition regclass, lower_time timestamptz, upper_time timestamptz, detaching boolean)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
  SELECT c.oid::regclass, b.times[1]::timestamptz, b.times[2]::timestamptz, i.inhdetachpending
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
         regexp_match(pg_get_expr(c.relpartbound, c.oid), '\(''([^'']+)''\) TO \(''([^'']+)''\)') AS b (times)
   WHERE i.inhparent = parent AND b.times IS NOT NULL
$$;
COMMENT ON FUNCTION audit.month_partitions(regclass) IS 'The months that a retention class of audit.event or audit.sealed has; detaching: an interrupted DETACH CONCURRENTLY';
REVOKE ALL ON FUNCTION audit.month_partitions(regclass) FROM PUBLIC;

CREATE FUNCTION audit.event_months() RETURNS TABLE (month timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT DISTINCT p.lower_time
    FROM unnest(ARRAY['audit.event_short', 'audit.event_standard', 'audit.event_extended']::regclass[]) AS parent,
         audit.month_partitions(parent) AS p
   WHERE NOT p.detaching
$$;
COMMENT ON FUNCTION audit.event_months() IS 'The months that audit.event has a partition of, in any retention class';
REVOKE ALL ON FUNCTION audit.event_months() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.event_months() TO citadel_app;

CREATE FUNCTION audit.ensure_month(parent regclass, pattern regclass, month timestamptz) RETURNS boolean
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  half_detached regclass;
  name text;
BEGIN
  SELECT p.partition INTO half_detached FROM audit.month_partitions(parent) p WHERE p.detaching AND p.lower_time = month;
  IF FOUND THEN
    RAISE EXCEPTION 'the partition % is half detached', half_detached
      USING ERRCODE = 'object_in_use', HINT = format('ALTER TABLE %s DETACH PARTITION %s FINALIZE', parent, half_detached);
  END IF;
  IF EXISTS (SELECT FROM audit.month_partitions(parent) p WHERE p.lower_time <= month AND p.upper_time > month) THEN
    RETURN false;
  END IF;
  name := audit.free_name((SELECT relname FROM pg_class WHERE oid = parent) || to_char(month, '_YYYYMM'));
  EXECUTE format('CREATE TABLE audit.%I (LIKE %s INCLUDING ALL)', name, pattern);
  EXECUTE format('ALTER TABLE %s ATTACH PARTITION audit.%I FOR VALUES FROM (%L) TO (%L)',
                 parent, name, month, month + interval '1 month');
  PERFORM audit.guard(format('audit.%I', name)::regclass);
  RETURN true;
END $$;
COMMENT ON FUNCTION audit.ensure_month(regclass, regclass, timestamptz) IS 'Makes one month''s partition where it is not there';
REVOKE ALL ON FUNCTION audit.ensure_month(regclass, regclass, timestamptz) FROM PUBLIC;

CREATE FUNCTION audit.ensure_event_partitions(retentions smallint[], months date[]) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  wanted record;
  made integer := 0;
BEGIN
  IF cardinality(months) > 1000 OR cardinality(retentions) <> cardinality(months) THEN
    RAISE EXCEPTION 'at most 1000 months a call, each with its retention class' USING ERRCODE = 'program_limit_exceeded';
  END IF;
  -- One at a time: two daemons that make the same month would fail each other. Held until the end of the transaction.
  PERFORM pg_advisory_xact_lock(4850147, 3);
  FOR wanted IN
    SELECT DISTINCT CASE u.retention WHEN 1 THEN 'short' WHEN 2 THEN 'standard' WHEN 3 THEN 'extended' END AS suffix,
           date_trunc('month', u.month::timestamptz) AS month
      FROM unnest(retentions, months) AS u (retention, month) ORDER BY 2, 1
  LOOP
    IF wanted.suffix IS NULL OR wanted.month < '1970-01-01' OR wanted.month > now() + interval '466 days' THEN
      RAISE EXCEPTION 'no partition for %: outside of what may be recorded', wanted.month
        USING ERRCODE = 'invalid_parameter_value';
    END IF;
    made := made
      + audit.ensure_month(('audit.event_' || wanted.suffix)::regclass, 'audit.event', wanted.month)::integer
      + audit.ensure_month(('audit.sealed_' || wanted.suffix)::regclass, 'audit.sealed', wanted.month)::integer;
  END LOOP;
  RETURN made;
END $$;
COMMENT ON FUNCTION audit.ensure_event_partitions(smallint[], date[]) IS
  'Makes the missing partitions of audit.event and audit.sealed; idempotent, safe to race; returns how many it made';
REVOKE ALL ON FUNCTION audit.ensure_event_partitions(smallint[], date[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.ensure_event_partitions(smallint[], date[]) TO citadel_app;

-- ---------------------------------------------------------------------------------------------------------------------
-- Changes of state, written by triggers in the transaction that makes the change.

CREATE FUNCTION audit.new_id() RETURNS uuid
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  -- The first 48 bits are milliseconds; two bits turn version 4 into 7.
  SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
           substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1),
         'hex')::uuid
$$;
COMMENT ON FUNCTION audit.new_id() IS 'A random UUID of version 7 of now';
REVOKE ALL ON FUNCTION audit.new_id() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.new_id() TO citadel_app;

CREATE TABLE audit.pending (
  number       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at           timestamptz NOT NULL DEFAULT clock_timestamp(),
  id           uuid NOT NULL DEFAULT audit.new_id() UNIQUE,
  action       text NOT NULL,
  object_type  text NOT NULL,
  object       text NOT NULL,
  tenant       text NOT NULL DEFAULT 'default',
  subject      text NOT NULL DEFAULT '',
  session_role text NOT NULL DEFAULT session_user,
  actor        text NOT NULL DEFAULT coalesce(current_setting('citadel.actor', true), ''),
  request_id   text NOT NULL DEFAULT coalesce(current_setting('citadel.request_id', true), ''),
  address      text NOT NULL DEFAULT coalesce(host(inet_client_addr()), ''),
  reason       text NOT NULL DEFAULT '',
  details      json
);
COMMENT ON TABLE audit.pending IS 'Entries that triggers and functions wrote in the transaction of what they tell; the sequencer takes them into the log and removes them in one transaction';
COMMENT ON COLUMN audit.pending.number IS 'their order in the log';
COMMENT ON COLUMN audit.pending.id IS 'of the entry';
COMMENT ON COLUMN audit.pending.session_role IS 'the role that logged in, whatever SET ROLE says';
COMMENT ON COLUMN audit.pending.actor IS 'whom the daemon acted for: SET LOCAL citadel.actor = ''type:id''; believed from the role citadel_app alone';
COMMENT ON COLUMN audit.pending.details IS 'table, operation, and the row before and after without its secret columns';
GRANT SELECT, DELETE ON audit.pending TO citadel_app;

-- A row goes when its entry is in the log, and not before, whoever asks.
CREATE FUNCTION audit.guard_pending() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  recent bigint;
BEGIN
  SELECT size - 4194304 INTO recent FROM audit.head;
  IF NOT EXISTS (SELECT FROM audit.entry WHERE id = OLD.id AND idx >= recent) THEN
    RAISE EXCEPTION 'the entry % is not in the audit log yet: its row in audit.pending stays', OLD.id
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN OLD;
END $$;
COMMENT ON FUNCTION audit.guard_pending() IS 'Trigger: only what is in the log leaves audit.pending';
CREATE TRIGGER only_what_is_logged BEFORE DELETE ON audit.pending FOR EACH ROW EXECUTE FUNCTION audit.guard_pending();
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON audit.pending FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.pending ENABLE ALWAYS TRIGGER only_what_is_logged;
ALTER TABLE audit.pending ENABLE ALWAYS TRIGGER append_only;

-- A row of a table as it stands in an entry: without the secret columns; where that is more than an entry takes, each
-- long value is replaced by its length and SHA-256, and at last the whole row.
CREATE FUNCTION audit.shown(whole jsonb, secret_columns text[]) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  bytes_max constant integer := 20000;
  value_bytes_max constant integer := 1000;
  kept jsonb := whole - secret_columns;
BEGIN
  IF octet_length(kept::text) <= bytes_max THEN
    RETURN kept;
  END IF;
  SELECT jsonb_object_agg(f.key, CASE WHEN octet_length(f.value::text) <= value_bytes_max THEN f.value ELSE
           jsonb_build_object('bytes', octet_length(f.value::text), 'sha256', encode(sha256(convert_to(f.value::text, 'UTF8')), 'hex')) END)
    INTO kept FROM jsonb_each(kept) AS f;
  IF octet_length(kept::text) <= bytes_max THEN
    RETURN kept;
  END IF;
  RETURN jsonb_build_object('bytes', octet_length(kept::text), 'sha256', encode(sha256(convert_to(kept::text, 'UTF8')), 'hex'));
END $$;
COMMENT ON FUNCTION audit.shown(jsonb, text[]) IS 'A row without its secret columns, short enough for an entry';
REVOKE ALL ON FUNCTION audit.shown(jsonb, text[]) FROM PUBLIC;

CREATE FUNCTION audit.record_change() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  secret_columns constant text[] := TG_ARGV[0]::text[];
  row_before jsonb := CASE WHEN TG_OP IN ('UPDATE', 'DELETE') AND TG_LEVEL = 'ROW' THEN to_jsonb(OLD) END;
  row_after jsonb := CASE WHEN TG_OP IN ('INSERT', 'UPDATE') AND TG_LEVEL = 'ROW' THEN to_jsonb(NEW) END;
  row_now jsonb := coalesce(row_after, row_before, '{}');
  key text;
BEGIN
  -- An UPDATE that changes nothing is none.
  IF TG_OP = 'UPDATE' AND row_before = row_after THEN
    RETURN NULL;
  END IF;
  SELECT string_agg(coalesce(row_now ->> a.attname, ''), ',' ORDER BY k.place) INTO key
    FROM pg_index i, unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (column_number, place), pg_attribute a
   WHERE i.indrelid = TG_RELID AND i.indisprimary AND a.attrelid = TG_RELID AND a.attnum = k.column_number
     AND a.attname <> ALL (secret_columns);
  INSERT INTO audit.pending (action, object_type, object, tenant, details)
  VALUES ('database.' || lower(TG_OP), TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME,
          CASE WHEN TG_LEVEL = 'STATEMENT' THEN 'all rows' ELSE coalesce(nullif(key, ''), 'a row without a key') END,
          coalesce(nullif(row_now ->> 'tenant', ''), 'default'),
          json_build_object('table', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, 'operation', lower(TG_OP),
                            'before', audit.shown(row_before, secret_columns), 'after', audit.shown(row_after, secret_columns)));
  RETURN NULL;
END $$;
COMMENT ON FUNCTION audit.record_change() IS 'Trigger: writes the change into audit.pending, in the same transaction; attached by audit.attach()';
REVOKE ALL ON FUNCTION audit.record_change() FROM PUBLIC;

-- `operations` is for tables that the daemon fills and nobody should change: their INSERTs are no change of state.
CREATE FUNCTION audit.attach(watched regclass, secret_columns text[], operations text DEFAULT 'INSERT OR UPDATE OR DELETE') RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  missing text;
BEGIN
  IF operations NOT IN ('INSERT OR UPDATE OR DELETE', 'UPDATE OR DELETE') THEN
    RAISE EXCEPTION 'audit.attach does not know the operations %', operations USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT c INTO missing FROM unnest(secret_columns) AS c
   WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = watched AND attname = c AND attnum > 0 AND NOT attisdropped);
  IF FOUND THEN
    RAISE EXCEPTION '% has no column % to leave out', watched, missing USING ERRCODE = 'undefined_column';
  END IF;
  EXECUTE format('CREATE TRIGGER audit_change AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION audit.record_change(%L)',
                 operations, watched, secret_columns::text);
  EXECUTE format('CREATE TRIGGER audit_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION audit.record_change(%L)',
                 watched, secret_columns::text);
  EXECUTE format('ALTER TABLE %1$s ENABLE ALWAYS TRIGGER audit_change, ENABLE ALWAYS TRIGGER audit_truncate', watched);
END $$;
COMMENT ON FUNCTION audit.attach(regclass, text[], text) IS
  'From now on each change of the table leaves an entry, with the row before and after but for the secret columns';
REVOKE ALL ON FUNCTION audit.attach(regclass, text[], text) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------
-- Holds, retention, erasure.

CREATE TABLE audit.hold (
  id          uuid PRIMARY KEY DEFAULT audit.new_id(),
  placed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  released_at timestamptz,
  time_from   timestamptz,
  time_to     timestamptz,
  tenant      text,
  subject     text,
  object_type text,
  object      text,
  reason      text NOT NULL CHECK (octet_length(reason) BETWEEN 1 AND 1000),
  placed_by   text NOT NULL,
  released_by text,
  CHECK (time_from < time_to),
  CHECK ((released_at IS NULL) = (released_by IS NULL))
);
COMMENT ON TABLE audit.hold IS 'Legal holds: what they name is neither erased nor pruned while they last; NULL names everything';
GRANT SELECT, INSERT ON audit.hold TO citadel_app;
GRANT UPDATE (released_at, released_by) ON audit.hold TO citadel_app;
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON audit.hold FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.hold ENABLE ALWAYS TRIGGER append_only;

CREATE TABLE audit.retention_run (
  id          uuid PRIMARY KEY DEFAULT audit.new_id(),
  at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  before      timestamptz NOT NULL,
  events      bigint NOT NULL,
  retention   smallint NOT NULL,
  ran_by      text NOT NULL,
  partition   text NOT NULL
);
COMMENT ON TABLE audit.retention_run IS 'Partitions of content that were removed when due, and what was in them';
GRANT SELECT ON audit.retention_run TO citadel_app;

CREATE TABLE audit.erasure (
  id         uuid PRIMARY KEY DEFAULT audit.new_id(),
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  events     bigint NOT NULL,
  groups     bigint NOT NULL,
  keys       bigint NOT NULL,
  tenant     text NOT NULL,
  subject_digest bytea NOT NULL,
  reason     text NOT NULL,
  erased_by  text NOT NULL
);
COMMENT ON TABLE audit.erasure IS 'Erasures that were done, and how much went; each also has an entry in the log';
COMMENT ON COLUMN audit.erasure.subject_digest IS 'SHA-256 of the subject''s name, so that a certificate can be checked without keeping the name';
SELECT audit.guard(kept) FROM unnest(ARRAY['audit.retention_run', 'audit.erasure']::regclass[]) AS kept;
GRANT SELECT ON audit.erasure TO citadel_app;

-- Destroys a subject's keys and removes the content of its events. The entries stay, and every proof with them. The lock
-- is the sequencer's, so that no event is sealed meanwhile under a key that goes.
CREATE FUNCTION audit.erase_subject(of_tenant text, of_subject text, why text, who text) RETURNS uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  done audit.erasure;
  held uuid;
BEGIN
  IF of_subject = '' OR why = '' OR who = '' THEN
    RAISE EXCEPTION 'an erasure needs a subject, a reason and who asked for it' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(4850147, 2);
  -- A hold of an object or of a time holds the subject where one of its events is of that object or time.
  SELECT h.id INTO held FROM audit.hold h
   WHERE h.released_at IS NULL AND coalesce(h.tenant, of_tenant) = of_tenant AND coalesce(h.subject, of_subject) = of_subject
     AND (h.subject IS NOT NULL OR EXISTS (
       SELECT FROM audit.event e
        WHERE e.tenant = of_tenant AND e.subject = of_subject
          AND e.object_type = coalesce(h.object_type, e.object_type) AND e.object = coalesce(h.object, e.object)
          AND e.time >= coalesce(h.time_from, '-infinity') AND e.time < coalesce(h.time_to, 'infinity')))
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the hold % keeps this subject''s data', held
      USING ERRCODE = 'object_in_use', HINT = 'Release the hold first, or erase when it has ended.';
  END IF;
  PERFORM set_config('citadel.audit_erasing', 'on', true);
  DELETE FROM audit.sealed s USING audit.subject_key k WHERE s.key_id = k.id AND k.tenant = of_tenant AND k.subject = of_subject;
  GET DIAGNOSTICS done.groups = ROW_COUNT;
  DELETE FROM audit.event WHERE tenant = of_tenant AND subject = of_subject;
  GET DIAGNOSTICS done.events = ROW_COUNT;
  DELETE FROM audit.conflict WHERE tenant = of_tenant AND subject = of_subject;
  PERFORM set_config('citadel.audit_erasing', 'off', true);
  UPDATE audit.subject_key SET wrapped_key = '', destroyed_at = clock_timestamp()
   WHERE tenant = of_tenant AND subject = of_subject AND destroyed_at IS NULL;
  GET DIAGNOSTICS done.keys = ROW_COUNT;
  INSERT INTO audit.erasure (events, groups, keys, tenant, subject_digest, reason, erased_by)
  VALUES (done.events, done.groups, done.keys, of_tenant, sha256(convert_to(of_subject, 'UTF8')), why, who)
  RETURNING id, subject_digest INTO done.id, done.subject_digest;
  INSERT INTO audit.pending (action, object_type, object, tenant, reason, details)
  VALUES ('audit.erasure', 'subject', encode(done.subject_digest, 'hex'), of_tenant, why,
          json_build_object('erasure', done.id, 'erased_by', who, 'events', done.events, 'groups', done.groups, 'keys', done.keys));
  RETURN done.id;
END $$;
COMMENT ON FUNCTION audit.erase_subject(text, text, text, text) IS
  'Destroys a subject''s keys, rows and salts, unless a hold keeps them; leaves a row in audit.erasure and an entry; returns the erasure''s id';
REVOKE ALL ON FUNCTION audit.erase_subject(text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.erase_subject(text, text, text, text) TO citadel_app;

-- The log as it is goes on, although a signed checkpoint says otherwise. The fence goes past the other line's, so that
-- nobody who still follows that one can publish.
CREATE FUNCTION audit.accept_fork(stored_size bigint, stored_root bytea, stored_fence bigint, why text, who text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  head audit.head;
BEGIN
  IF why = '' OR who = '' THEN
    RAISE EXCEPTION 'to accept a fork needs a reason and who accepts it' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(4850147, 2);
  UPDATE audit.head SET fence = greatest(fence, stored_fence) + 1, updated_at = clock_timestamp() RETURNING * INTO head;
  INSERT INTO audit.pending (action, object_type, object, reason, details)
  VALUES ('audit.fork_accepted', 'audit_log', head.origin, why,
          json_build_object('accepted_by', who, 'checkpoint_size', stored_size, 'checkpoint_root', encode(stored_root, 'hex'),
                            'head_size', head.size, 'head_root', encode(head.root, 'hex'), 'fence', head.fence));
END $$;
COMMENT ON FUNCTION audit.accept_fork(bigint, bytea, bigint, text, text) IS
  'Records in the log that it goes on although it does not extend the checkpoint given, and moves the fence past that line''s';
REVOKE ALL ON FUNCTION audit.accept_fork(bigint, bytea, bigint, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.accept_fork(bigint, bytea, bigint, text, text) TO citadel_app;

-- ---------------------------------------------------------------------------------------------------------------------
-- What is watched today. Not watched, because the daemon alone writes them, as a matter of course, and they hold no
-- decision of anybody's: records and sums of usage, its dictionaries, watermarks, commit markers, verify's probes.

SELECT audit.attach('citadel.migration', '{}');
SELECT audit.attach('citadel.schema_definition', '{}');
SELECT audit.attach('audit.hold', '{}');
-- Evidence that a person may be tempted to tidy away.
SELECT audit.attach('citadel.dead_letter', '{payload}', 'UPDATE OR DELETE');
SELECT audit.attach('usage.request_conflict', '{record}', 'UPDATE OR DELETE');

-- Partitions of usage.request by month instead of by day, and made by what is attached, not by what a table is called.
-- Why: docs/decisions/0003-partitions-by-month.md. Run as citadel_owner, in one transaction, by the migration runner.

COMMENT ON TABLE usage.request IS
  'One row a model request, partitioned by month: the id is a UUIDv7, so its order is the order of time';

-- What is attached to usage.request, with its bounds.
CREATE FUNCTION usage.request_partitions()
  RETURNS TABLE (partition regclass, lower_id uuid, upper_id uuid, detaching boolean)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.oid::regclass, b.ids[1]::uuid, b.ids[2]::uuid, i.inhdetachpending
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
         regexp_match(pg_get_expr(c.relpartbound, c.oid), '\(''([0-9a-f-]{36})''\) TO \(''([0-9a-f-]{36})''\)') AS b (ids)
   WHERE i.inhparent = 'usage.request'::regclass AND b.ids IS NOT NULL
$$;
COMMENT ON FUNCTION usage.request_partitions() IS
  'The partitions of usage.request: lower_id <= id < upper_id; detaching: an interrupted DETACH CONCURRENTLY';
REVOKE ALL ON FUNCTION usage.request_partitions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION usage.request_partitions() TO citadel_app;

-- A day that no partition holds gets one of its whole month; or one of its own where others, from before this
-- migration, hold days of that month. A table that was detached stays as it is, even if it has the name: what an
-- operator has taken out is not put back, and the new partition gets a number behind its name.
-- A partition is made as a table of its own and attached, because that, unlike CREATE TABLE … PARTITION OF, locks out
-- neither readers nor writers of usage.request.
CREATE OR REPLACE FUNCTION usage.ensure_partitions(days date[]) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  day date;
  first_id uuid;
  end_id uuid;
  held_below uuid;
  half_detached regclass;
  base text;
  name text;
  number integer;
  made integer := 0;
BEGIN
  IF cardinality(days) > 4000 THEN
    RAISE EXCEPTION 'at most 4000 days a call, not %', cardinality(days) USING ERRCODE = 'program_limit_exceeded';
  END IF;
  -- One at a time: two daemons that make the same month would fail each other. Held until the end of the transaction.
  PERFORM pg_advisory_xact_lock(4850147, 1);
  -- A UUIDv7 has no time before 1970. The other bound is wider than usage.future_max can be set, so that nothing that
  -- was accepted is refused here, even where the two clocks differ.
  SELECT d INTO day FROM unnest(days) AS d WHERE d < '1970-01-01' OR d > current_date + 466 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'no partition for %: outside of what may be recorded', day
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  FOR day IN
    SELECT DISTINCT d FROM unnest(days) AS d
     WHERE d IS NOT NULL AND NOT EXISTS (
       SELECT FROM usage.request_partitions() p
        WHERE NOT p.detaching AND p.lower_id <= usage.id_floor(d::timestamptz)
          AND p.upper_id > usage.id_floor(d::timestamptz))
     ORDER BY d
  LOOP
    CONTINUE WHEN usage.id_floor(day::timestamptz) < held_below;
    base := 'request_' || to_char(day, 'YYYYMM');
    first_id := usage.id_floor(date_trunc('month', day::timestamptz));
    end_id := usage.id_floor(date_trunc('month', day::timestamptz) + interval '1 month');
    IF EXISTS (SELECT FROM usage.request_partitions() p WHERE p.lower_id < end_id AND p.upper_id > first_id) THEN
      base := 'request_' || to_char(day, 'YYYYMMDD');
      first_id := usage.id_floor(day::timestamptz);
      end_id := usage.id_floor((day + 1)::timestamptz);
    END IF;
    SELECT p.partition INTO half_detached FROM usage.request_partitions() p
     WHERE p.detaching AND p.lower_id < end_id AND p.upper_id > first_id;
    IF FOUND THEN
      RAISE EXCEPTION 'the partition % is half detached', half_detached
        USING ERRCODE = 'object_in_use', HINT = format('ALTER TABLE usage.request DETACH PARTITION %s FINALIZE', half_detached);
    END IF;
    name := base;
    number := 1;
    WHILE to_regclass(format('usage.%I', name)) IS NOT NULL LOOP
      number := number + 1;
      name := base || '_' || number;
    END LOOP;
    EXECUTE format('CREATE TABLE usage.%I (LIKE usage.request INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE usage.request ATTACH PARTITION usage.%I FOR VALUES FROM (%L) TO (%L)',
                   name, first_id, end_id);
    held_below := end_id;
    made := made + 1;
  END LOOP;
  RETURN made;
END $$;
COMMENT ON FUNCTION usage.ensure_partitions(date[]) IS
  'Makes the missing partitions of usage.request for these days (UTC); idempotent, safe to race; returns how many it made';

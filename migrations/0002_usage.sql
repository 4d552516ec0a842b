-- Request records and their sums. Run as citadel_owner, in one transaction, by the migration runner.

CREATE SCHEMA usage;
COMMENT ON SCHEMA usage IS 'What every model request was and cost: records by day, and sums by minute, hour and day';
REVOKE ALL ON SCHEMA usage FROM PUBLIC;
GRANT USAGE ON SCHEMA usage TO citadel_app;

CREATE TABLE usage.tenant (
  id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE CHECK (char_length(name) BETWEEN 1 AND 200)
);
COMMENT ON TABLE usage.tenant IS 'Dictionary: tenants by a small number';
CREATE TABLE usage.model (
  id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE CHECK (char_length(name) BETWEEN 1 AND 200)
);
COMMENT ON TABLE usage.model IS 'Dictionary: models by a small number';
-- No UPDATE, no DELETE: an id, once given, means the same name for ever, so a daemon may remember it.
GRANT SELECT, INSERT ON usage.tenant, usage.model TO citadel_app;

-- Fixed-width columns first, widest first, so that no row has padding inside.
-- No foreign keys here: a check for each row would halve the rate of COPY. Each batch also writes its rollups, which
-- do refer to tenant and model, in the same transaction, so an unknown number fails the batch all the same.
CREATE TABLE usage.request (
  started_at        timestamptz NOT NULL,
  digest            bigint NOT NULL,
  cost_nano         bigint NOT NULL,
  latency_us        bigint,
  ttft_us           bigint,
  queue_us          bigint,
  tenant_id         integer NOT NULL,
  model_id          integer NOT NULL,
  prompt_tokens     integer NOT NULL,
  completion_tokens integer NOT NULL,
  status            smallint NOT NULL,
  streamed          boolean NOT NULL,
  id                uuid NOT NULL,
  trace_id          uuid,
  endpoint          text,
  session           text,
  api_key           text,
  error_code        text,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);
COMMENT ON TABLE usage.request IS
  'One row a model request, partitioned by day: the id is a UUIDv7, so its order is the order of time';
COMMENT ON COLUMN usage.request.digest IS 'first 8 bytes of the SHA-256 of the record: tells a repeat from a conflict';
COMMENT ON COLUMN usage.request.cost_nano IS 'billionths of the currency unit';
COMMENT ON COLUMN usage.request.latency_us IS 'from the request''s arrival to its last byte, microseconds';
COMMENT ON COLUMN usage.request.ttft_us IS 'from the request''s arrival to its first token, microseconds';
COMMENT ON COLUMN usage.request.queue_us IS 'waiting before the model began, microseconds';
COMMENT ON COLUMN usage.request.status IS 'HTTP status';
COMMENT ON COLUMN usage.request.trace_id IS 'W3C trace id';
COMMENT ON COLUMN usage.request.api_key IS 'the key''s label, never the key';
-- The newest of a tenant or of a model, however rare, without reading the others'.
CREATE INDEX request_by_tenant ON usage.request (tenant_id, id);
CREATE INDEX request_by_model ON usage.request (model_id, id);
-- Failures are few, and what people look for.
CREATE INDEX request_failed ON usage.request (id) WHERE status >= 400;
-- The dearest index, because trace ids are random; so it holds only the rows that have one. (A million rows by COPY:
-- primary key alone 570k/s, with the three above 234k/s, with this one 138k/s; a hash index instead of it 112k/s.)
CREATE INDEX request_by_trace ON usage.request (trace_id) WHERE trace_id IS NOT NULL;
GRANT SELECT, INSERT ON usage.request TO citadel_app;

CREATE TABLE usage.request_conflict (
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  digest      bigint NOT NULL,
  id          uuid NOT NULL,
  record      jsonb NOT NULL,
  PRIMARY KEY (id, digest)
);
COMMENT ON TABLE usage.request_conflict IS
  'Acknowledged records whose id another record with other content had taken: kept for a person, counted in no sum';
COMMENT ON COLUMN usage.request_conflict.record IS 'the record as the API shows it';
GRANT SELECT, INSERT ON usage.request_conflict TO citadel_app;

CREATE TABLE usage.rollup_minute (
  bucket            timestamptz NOT NULL,
  updated_at        timestamptz NOT NULL DEFAULT now(),
  requests          bigint NOT NULL,
  errors            bigint NOT NULL,
  prompt_tokens     bigint NOT NULL,
  completion_tokens bigint NOT NULL,
  cost_nano         bigint NOT NULL,
  latency_count     bigint NOT NULL,
  latency_us_sum    bigint NOT NULL,
  latency_us_max    bigint NOT NULL,
  ttft_count        bigint NOT NULL,
  ttft_us_sum       bigint NOT NULL,
  ttft_us_max       bigint NOT NULL,
  queue_count       bigint NOT NULL,
  queue_us_sum      bigint NOT NULL,
  queue_us_max      bigint NOT NULL,
  tenant_id         integer NOT NULL REFERENCES usage.tenant,
  model_id          integer NOT NULL REFERENCES usage.model,
  PRIMARY KEY (bucket, tenant_id, model_id)
) WITH (fillfactor = 70);  -- room to update a row on its own page (HOT)
CREATE TABLE usage.rollup_hour (LIKE usage.rollup_minute INCLUDING ALL,
  FOREIGN KEY (tenant_id) REFERENCES usage.tenant, FOREIGN KEY (model_id) REFERENCES usage.model)
  WITH (fillfactor = 70);
CREATE TABLE usage.rollup_day (LIKE usage.rollup_minute INCLUDING ALL,
  FOREIGN KEY (tenant_id) REFERENCES usage.tenant, FOREIGN KEY (model_id) REFERENCES usage.model)
  WITH (fillfactor = 70);
COMMENT ON TABLE usage.rollup_minute IS 'Sums of usage.request by minute of started_at (UTC); kept 7 days after the last write';
COMMENT ON TABLE usage.rollup_hour IS 'Sums of usage.request by hour of started_at (UTC); kept 13 months after the last write';
COMMENT ON TABLE usage.rollup_day IS 'Sums of usage.request by day of started_at (UTC); kept for ever';
COMMENT ON COLUMN usage.rollup_minute.errors IS 'of the requests, those with status 400 and above';
COMMENT ON COLUMN usage.rollup_minute.latency_count IS 'of the requests, those that told their latency';
GRANT SELECT, INSERT, UPDATE ON usage.rollup_minute, usage.rollup_hour, usage.rollup_day TO citadel_app;

CREATE TABLE usage.rollup_pruned (
  before timestamptz NOT NULL,
  rollup text PRIMARY KEY CHECK (rollup IN ('minute', 'hour'))
);
COMMENT ON TABLE usage.rollup_pruned IS
  'Up to where retention has removed sums: a query that reaches further back is told that its answer is incomplete';
GRANT SELECT ON usage.rollup_pruned TO citadel_app;

-- Removes sums past their time. It counts from the last write too, so that an import of old records is not pruned the
-- hour after it.
CREATE FUNCTION usage.prune_rollups() RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  minutes_until timestamptz;
  hours_until timestamptz;
  minute_rows bigint;
  hour_rows bigint;
BEGIN
  WITH gone AS (DELETE FROM usage.rollup_minute
                 WHERE bucket < now() - interval '7 days' AND updated_at < now() - interval '7 days' RETURNING bucket)
  SELECT max(bucket) + interval '1 minute', count(*) INTO minutes_until, minute_rows FROM gone;
  WITH gone AS (DELETE FROM usage.rollup_hour
                 WHERE bucket < now() - interval '13 months' AND updated_at < now() - interval '13 months' RETURNING bucket)
  SELECT max(bucket) + interval '1 hour', count(*) INTO hours_until, hour_rows FROM gone;
  INSERT INTO usage.rollup_pruned (rollup, before)
  SELECT * FROM (VALUES ('minute', minutes_until), ('hour', hours_until)) AS pruned (rollup, before)
   WHERE pruned.before IS NOT NULL
  ON CONFLICT (rollup) DO UPDATE SET before = greatest(rollup_pruned.before, excluded.before);
  RETURN minute_rows + hour_rows;
END $$;
COMMENT ON FUNCTION usage.prune_rollups() IS
  'Deletes sums by minute after 7 days and by hour after 13 months; returns how many rows';
REVOKE ALL ON FUNCTION usage.prune_rollups() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION usage.prune_rollups() TO citadel_app;

-- The smallest UUIDv7 of a moment, with every bit after its time at zero: a bound for ranges of ids.
CREATE FUNCTION usage.id_floor(at timestamptz) RETURNS uuid
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT rpad(lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;
COMMENT ON FUNCTION usage.id_floor(timestamptz) IS 'The lower bound of all request ids of that millisecond and later';
REVOKE ALL ON FUNCTION usage.id_floor(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION usage.id_floor(timestamptz) TO citadel_app;

-- Makes the partitions of these days (UTC) that are not there. A partition is made as a table of its own and attached,
-- because that, unlike CREATE TABLE … PARTITION OF, locks out neither readers nor writers of usage.request.
CREATE FUNCTION usage.ensure_partitions(days date[]) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  day date;
  name text;
  made integer := 0;
BEGIN
  IF cardinality(days) > 64 THEN
    RAISE EXCEPTION 'at most 64 days a call, not %', cardinality(days) USING ERRCODE = 'program_limit_exceeded';
  END IF;
  -- One at a time: two daemons that make the same day would fail each other. Held until the end of the transaction.
  PERFORM pg_advisory_xact_lock(4850147, 1);
  FOR day IN SELECT DISTINCT d FROM unnest(days) AS d WHERE d IS NOT NULL ORDER BY d LOOP
    IF day < current_date - 3700 OR day > current_date + 366 THEN
      RAISE EXCEPTION 'no partition for %: outside of what may be recorded', day
        USING ERRCODE = 'invalid_parameter_value';
    END IF;
    name := 'request_' || to_char(day, 'YYYYMMDD');
    CONTINUE WHEN to_regclass(format('usage.%I', name)) IS NOT NULL;
    EXECUTE format('CREATE TABLE usage.%I (LIKE usage.request INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE usage.request ATTACH PARTITION usage.%I FOR VALUES FROM (%L) TO (%L)',
                   name, usage.id_floor(day::timestamptz), usage.id_floor((day + 1)::timestamptz));
    made := made + 1;
  END LOOP;
  RETURN made;
END $$;
COMMENT ON FUNCTION usage.ensure_partitions(date[]) IS
  'Makes the missing daily partitions of usage.request; idempotent, safe to race; returns how many it made';
REVOKE ALL ON FUNCTION usage.ensure_partitions(date[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION usage.ensure_partitions(date[]) TO citadel_app;

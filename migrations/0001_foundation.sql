-- What every room needs of the database: the proof of an unknown commit, how far each journal is drained, and a place
-- for what cannot be understood. Run as citadel_owner, in one transaction, by the migration runner.

CREATE SCHEMA IF NOT EXISTS citadel;
COMMENT ON SCHEMA citadel IS 'Citadel''s own bookkeeping; nothing here belongs to a user';
REVOKE ALL ON SCHEMA citadel FROM PUBLIC;
GRANT USAGE ON SCHEMA citadel TO citadel_app;
-- So that the daemon can say which version the schema has.
GRANT SELECT ON citadel.migration TO citadel_app;

CREATE TABLE citadel.commit_marker (
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  id uuid PRIMARY KEY
);
COMMENT ON TABLE citadel.commit_marker IS
  'One row for each write transaction of the last hours: whether it is here decides a commit of unknown outcome';
COMMENT ON COLUMN citadel.commit_marker.id IS 'chosen by the daemon before BEGIN';
GRANT SELECT, INSERT ON citadel.commit_marker TO citadel_app;

-- Removes markers that nobody can ask for any more. The floor of one hour is far above every deadline, so that no
-- caller can purge the proof of a transaction that is still being resolved.
CREATE FUNCTION citadel.purge_commit_markers(keep interval) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  purged bigint;
BEGIN
  DELETE FROM citadel.commit_marker
   WHERE at < clock_timestamp() - greatest(keep, interval '1 hour');
  GET DIAGNOSTICS purged = ROW_COUNT;
  RETURN purged;
END $$;
COMMENT ON FUNCTION citadel.purge_commit_markers(interval) IS
  'Deletes commit markers older than keep, never younger than one hour; returns how many';
REVOKE ALL ON FUNCTION citadel.purge_commit_markers(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION citadel.purge_commit_markers(interval) TO citadel_app;

CREATE TABLE citadel.watermark (
  epoch      bigint NOT NULL CHECK (epoch > 0),
  sequence   bigint NOT NULL CHECK (sequence >= 0),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  producer   uuid NOT NULL,
  PRIMARY KEY (producer, epoch)
);
COMMENT ON TABLE citadel.watermark IS
  'How far each journal has been drained; moved in the same transaction as the rows, so a frame is written exactly once';
COMMENT ON COLUMN citadel.watermark.producer IS 'the journal''s identity';
COMMENT ON COLUMN citadel.watermark.epoch IS 'one more at each start of the journal';
COMMENT ON COLUMN citadel.watermark.sequence IS 'the last frame of the epoch that is in the database';
GRANT SELECT, INSERT, UPDATE ON citadel.watermark TO citadel_app;

CREATE TABLE citadel.dead_letter (
  epoch       bigint NOT NULL,
  sequence    bigint NOT NULL,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  producer    uuid NOT NULL,
  id          uuid NOT NULL,
  kind        smallint NOT NULL,
  reason      text NOT NULL,
  payload     bytea NOT NULL,
  PRIMARY KEY (producer, epoch, sequence)
);
COMMENT ON TABLE citadel.dead_letter IS
  'Frames that no sink could understand, byte for byte: kept for a person, so that they neither block the drain nor vanish';
COMMENT ON COLUMN citadel.dead_letter.kind IS 'journal::Kind';
COMMENT ON COLUMN citadel.dead_letter.reason IS 'what the sink found wrong';
GRANT SELECT, INSERT ON citadel.dead_letter TO citadel_app;

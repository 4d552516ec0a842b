-- Where `citadel verify` writes, so that it touches nobody's records.
CREATE TABLE citadel.verify_probe (
  run  uuid NOT NULL,
  slot integer NOT NULL,
  note text NOT NULL,
  at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (run, slot)
);
COMMENT ON TABLE citadel.verify_probe IS 'Rows that citadel verify writes, reads back and removes';
GRANT SELECT, INSERT, UPDATE, DELETE ON citadel.verify_probe TO citadel_app;

-- A subject's key that is changed or removed leaves its entry, as each other change of state does. Why not before: the row has the
-- subject's name, which must not get into the log. Run as citadel_owner, in one transaction, by the migration runner.

-- By hand, because audit.attach() knows no exception. New keys are the daemon's doing, as a matter of course: no change of state.
-- Neither name nor key is in the entry: the row's number leads to the name for as long as that is kept.
CREATE TRIGGER audit_change AFTER DELETE ON audit.subject_key FOR EACH ROW EXECUTE FUNCTION audit.record_change('{subject,wrapped_key}');
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON audit.subject_key FOR EACH STATEMENT EXECUTE FUNCTION audit.record_change('{subject,wrapped_key}');
-- A rotation has an entry for each batch of up to a thousand keys, and none for each key. Anybody can say that he rotates: whose
-- key it is, and that it is destroyed, is therefore never left out.
CREATE TRIGGER audit_update AFTER UPDATE ON audit.subject_key FOR EACH ROW
  WHEN (current_setting('citadel.audit_rewrapping', true) IS DISTINCT FROM 'on'
        OR (OLD.id, OLD.created_at, OLD.destroyed_at, OLD.tenant, OLD.subject)
           IS DISTINCT FROM (NEW.id, NEW.created_at, NEW.destroyed_at, NEW.tenant, NEW.subject))
  EXECUTE FUNCTION audit.record_change('{subject,wrapped_key}');
ALTER TABLE audit.subject_key ENABLE ALWAYS TRIGGER audit_change, ENABLE ALWAYS TRIGGER audit_truncate, ENABLE ALWAYS TRIGGER audit_update;

-- As in 0006, but for the setting.
CREATE OR REPLACE FUNCTION audit.rewrap_subject_keys(ids bigint[], before bytea[], after bytea[], master bytea, who text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  done bigint;
BEGIN
  IF cardinality(ids) > 1000 OR cardinality(before) <> cardinality(ids) OR cardinality(after) <> cardinality(ids) THEN
    RAISE EXCEPTION 'at most 1000 keys a call, each with its wrapping before and after' USING ERRCODE = 'program_limit_exceeded';
  END IF;
  PERFORM set_config('citadel.audit_rewrapping', 'on', true);
  -- A key that was destroyed or wrapped anew meanwhile stays as it is.
  UPDATE audit.subject_key k SET wrapped_key = u.after, wrapped_by = master
    FROM unnest(ids, before, after) AS u (id, before, after)
   WHERE k.id = u.id AND k.wrapped_key = u.before AND k.destroyed_at IS NULL;
  GET DIAGNOSTICS done = ROW_COUNT;
  PERFORM set_config('citadel.audit_rewrapping', 'off', true);
  IF done > 0 THEN
    INSERT INTO audit.pending (action, object_type, object, reason, details)
    VALUES ('audit.key_rotated', 'master_key', encode(master, 'hex'), format('%s keys of subjects were wrapped anew', done),
            json_build_object('keys', done, 'first', ids[1], 'last', ids[cardinality(ids)], 'rotated_by', who));
  END IF;
  RETURN done;
END $$;

-- Who may call what: tenants, their principals, and the principals' keys, of which only a keyed hash is here. What a role may
-- call stands in src/access/routes.cpp. Run as citadel_owner, in one transaction, by the migration runner.

CREATE SCHEMA access;
COMMENT ON SCHEMA access IS 'Tenants, principals and API keys, kept apart by row-level security: set citadel.tenant to see one tenant''s rows';
REVOKE ALL ON SCHEMA access FROM PUBLIC;
GRANT USAGE ON SCHEMA access TO citadel_app;

CREATE TABLE access.tenant (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT now(),
  name       text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$')
);
COMMENT ON TABLE access.tenant IS 'Whose principals and keys are kept apart. The first one, default, is the operator''s own';
INSERT INTO access.tenant (name) VALUES ('default');

CREATE TABLE access.principal (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id  integer NOT NULL REFERENCES access.tenant,
  created_at timestamptz NOT NULL DEFAULT now(),
  disabled   boolean NOT NULL DEFAULT false,
  name       text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$'),
  role       text NOT NULL CHECK (role IN ('admin', 'operator', 'gateway', 'model_service', 'auditor', 'reader')),
  UNIQUE (tenant_id, name),
  UNIQUE (tenant_id, id)
);
COMMENT ON TABLE access.principal IS 'A person or a service that calls the API, with its one role';
COMMENT ON COLUMN access.principal.disabled IS 'none of its keys is valid';

CREATE TABLE access.api_key (
  id          uuid PRIMARY KEY,
  tenant_id   integer NOT NULL,
  principal   integer NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz,
  revoked_at  timestamptz,
  replaced_by uuid,
  prefix      text NOT NULL UNIQUE CHECK (prefix ~ '^[A-Za-z0-9]{8}$'),
  hash        bytea NOT NULL CHECK (octet_length(hash) = 32),
  -- A key's principal is of the key's tenant.
  FOREIGN KEY (tenant_id, principal) REFERENCES access.principal (tenant_id, id),
  UNIQUE (tenant_id, id),
  FOREIGN KEY (tenant_id, replaced_by) REFERENCES access.api_key (tenant_id, id)
);
CREATE INDEX ON access.api_key (tenant_id, principal);
COMMENT ON TABLE access.api_key IS 'API keys. When one was last used is in the audit trail (auth.success), and not here';
COMMENT ON COLUMN access.api_key.prefix IS 'the part of the key that may be shown: ck_PREFIX_…';
COMMENT ON COLUMN access.api_key.hash IS 'HMAC-SHA-256 of the whole key under the daemon''s pepper, which is not in the database';
COMMENT ON COLUMN access.api_key.revoked_at IS 'not valid from then on; in the future while a replaced key goes on for its overlap';
COMMENT ON COLUMN access.api_key.replaced_by IS 'the key that a rotation made in its place';

-- ---------------------------------------------------------------------------------------------------------------------
-- Row-level security, for the owner too. Without the setting there are no rows.

CREATE FUNCTION access.isolate(kept regclass, tenant_column name) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', kept);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', kept);
  EXECUTE format('CREATE POLICY tenant ON %1$s USING (%2$I = (SELECT nullif(current_setting(''citadel.tenant'', true), '''')::integer)) '
                 'WITH CHECK (%2$I = (SELECT nullif(current_setting(''citadel.tenant'', true), '''')::integer))', kept, tenant_column);
  -- The functions below, when a role calls them that cannot become the owner. The owner who logs in, and who is a member of it, see
  -- what the policy above shows, in these functions too: they set citadel.tenant.
  EXECUTE format('CREATE POLICY functions_of_the_owner ON %s TO CURRENT_USER '
                 'USING (NOT pg_has_role(session_user, current_user, ''MEMBER''))', kept);
END $$;
COMMENT ON FUNCTION access.isolate(regclass, name) IS 'Shows a table''s rows to their own tenant alone, and to the owner''s functions that another role calls';
REVOKE ALL ON FUNCTION access.isolate(regclass, name) FROM PUBLIC;
SELECT access.isolate('access.tenant', 'id');
SELECT access.isolate('access.principal', 'tenant_id');
SELECT access.isolate('access.api_key', 'tenant_id');

GRANT SELECT ON access.tenant TO citadel_app;
GRANT SELECT, INSERT (tenant_id, name, role), UPDATE (disabled) ON access.principal TO citadel_app;
-- All but the hash, which access.lookup() alone gives.
GRANT SELECT (id, tenant_id, principal, created_at, expires_at, revoked_at, replaced_by, prefix) ON access.api_key TO citadel_app;
GRANT INSERT (id, tenant_id, principal, expires_at, prefix, hash), UPDATE (revoked_at, replaced_by) ON access.api_key TO citadel_app;

-- ---------------------------------------------------------------------------------------------------------------------
-- How daemons follow: each change moves the stamp, in its own transaction, so keys that are read after a stamp are at least as new as
-- it says.

CREATE TABLE access.state (
  stamp        bigint NOT NULL DEFAULT 0,
  only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  pepper_check bytea CHECK (octet_length(pepper_check) = 32)
);
COMMENT ON TABLE access.state IS 'Daemons look here whether tenants, principals and keys have changed';
COMMENT ON COLUMN access.state.stamp IS 'another random number with each change, so that it does not come again after a restore';
COMMENT ON COLUMN access.state.pepper_check IS 'HMAC of a fixed text under the pepper of the first key, so that a daemon with another pepper knows it';
INSERT INTO access.state DEFAULT VALUES;
GRANT SELECT ON access.state TO citadel_app;

CREATE FUNCTION access.moved() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE access.state SET stamp = ('x' || translate(gen_random_uuid()::text, '-', ''))::bit(64)::bigint;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION access.moved() IS 'Trigger: moves access.state.stamp';
REVOKE ALL ON FUNCTION access.moved() FROM PUBLIC;
DO $$
DECLARE
  followed regclass;
BEGIN
  FOREACH followed IN ARRAY '{access.tenant, access.principal, access.api_key}'::regclass[] LOOP
    EXECUTE format('CREATE TRIGGER moved AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s '
                   'FOR EACH STATEMENT EXECUTE FUNCTION access.moved()', followed);
    -- Also where session_replication_role holds other triggers back.
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER moved', followed);
  END LOOP;
END $$;

CREATE FUNCTION access.claim_pepper(pepper bytea) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE access.state SET pepper_check = pepper WHERE pepper_check IS NULL;
  RETURN (SELECT pepper_check = pepper FROM access.state);
END $$;
COMMENT ON FUNCTION access.claim_pepper(bytea) IS 'Whether this is the pepper of the keys that are here; the first one is';
REVOKE ALL ON FUNCTION access.claim_pepper(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.claim_pepper(bytea) TO citadel_app;

-- What a daemon keeps in memory to tell whose a key is. Those that ended are there for a day, so that it can say why.
CREATE FUNCTION access.lookup()
  RETURNS TABLE (tenant_id integer, tenant text, principal text, role text, prefix text, hash bytea,
                 expires_at timestamptz, revoked_at timestamptz, revoked boolean, disabled boolean)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  -- Revoked by this clock: one that goes after must not let a key live on.
  SELECT k.tenant_id, t.name, p.name, p.role, k.prefix, k.hash, k.expires_at, k.revoked_at,
         coalesce(k.revoked_at <= now(), false), p.disabled
    FROM access.api_key k JOIN access.principal p ON p.id = k.principal JOIN access.tenant t ON t.id = k.tenant_id
   WHERE least(k.expires_at, k.revoked_at) IS NULL OR least(k.expires_at, k.revoked_at) > now() - interval '1 day'
$$;
COMMENT ON FUNCTION access.lookup() IS 'The keys of all tenants, for the daemon''s own look-up';
REVOKE ALL ON FUNCTION access.lookup() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.lookup() TO citadel_app;

CREATE FUNCTION access.tenants() RETURNS TABLE (id integer, name text, created_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.id, t.name, t.created_at FROM access.tenant t
$$;
COMMENT ON FUNCTION access.tenants() IS 'All tenants, for who may act for each of them';
REVOKE ALL ON FUNCTION access.tenants() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.tenants() TO citadel_app;

CREATE FUNCTION access.create_tenant(wanted text) RETURNS integer
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO access.tenant (name) VALUES (wanted) RETURNING id
$$;
COMMENT ON FUNCTION access.create_tenant(text) IS 'Makes a tenant, which has no setting of its own before it is there';
REVOKE ALL ON FUNCTION access.create_tenant(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.create_tenant(text) TO citadel_app;

-- ---------------------------------------------------------------------------------------------------------------------
-- Each change is an entry of the audit trail, under the name of its tenant.

CREATE FUNCTION access.tenant_name(of_tenant integer) RETURNS text
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT name FROM access.tenant WHERE id = of_tenant
$$;
COMMENT ON FUNCTION access.tenant_name(integer) IS 'For audit.record_change()';
REVOKE ALL ON FUNCTION access.tenant_name(integer) FROM PUBLIC;

-- As in 0005, but for the tenant of rows that name it by its number.
CREATE OR REPLACE FUNCTION audit.record_change() RETURNS trigger
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
          coalesce(nullif(row_now ->> 'tenant', ''),
                   CASE WHEN TG_RELID = 'access.tenant'::regclass THEN row_now ->> 'name'
                        WHEN TG_TABLE_SCHEMA = 'access' THEN access.tenant_name((row_now ->> 'tenant_id')::integer) END, 'default'),
          json_build_object('table', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, 'operation', lower(TG_OP),
                            'before', audit.shown(row_before, secret_columns), 'after', audit.shown(row_after, secret_columns)));
  RETURN NULL;
END $$;

SELECT audit.attach('access.tenant', '{}');
SELECT audit.attach('access.principal', '{}');
SELECT audit.attach('access.api_key', '{hash}');
-- Of the state only what the keys hang on: whose pepper they are of.
CREATE TRIGGER audit AFTER UPDATE OF pepper_check ON access.state
  FOR EACH ROW EXECUTE FUNCTION audit.record_change('{pepper_check}');
ALTER TABLE access.state ENABLE ALWAYS TRIGGER audit;

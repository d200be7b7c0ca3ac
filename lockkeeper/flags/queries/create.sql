-- Once for each database. The application's roles read the flags; who flips them owns the schema.
CREATE SCHEMA IF NOT EXISTS lockkeeper;
GRANT USAGE ON SCHEMA lockkeeper TO PUBLIC;

CREATE TABLE lockkeeper.feature_flag (
    name text PRIMARY KEY,
    percent smallint NOT NULL CHECK (percent BETWEEN 0 AND 100),
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    subject text UNIQUE
);
COMMENT ON COLUMN lockkeeper.feature_flag.subject IS 'The one change that the flag belongs to, where it is ours.';
GRANT SELECT ON lockkeeper.feature_flag TO PUBLIC;

CREATE TABLE lockkeeper.feature_flag_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    flag text NOT NULL,
    percent_before smallint,
    percent_after smallint,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    reason text NOT NULL,
    database_user text NOT NULL DEFAULT session_user,
    application text NOT NULL DEFAULT current_setting('application_name')
);

-- In the flip's own transaction, and also when somebody flips by hand.
CREATE FUNCTION lockkeeper.audit_feature_flag() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.percent = OLD.percent THEN
        RETURN NULL;
    END IF;
    INSERT INTO lockkeeper.feature_flag_change (flag, percent_before, percent_after, changed_by, reason)
    VALUES (
        CASE WHEN TG_OP = 'DELETE' THEN OLD.name ELSE NEW.name END,
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.percent END,
        CASE WHEN TG_OP <> 'DELETE' THEN NEW.percent END,
        CASE WHEN TG_OP = 'DELETE' THEN OLD.changed_by ELSE NEW.changed_by END,
        CASE WHEN TG_OP = 'DELETE' THEN 'removed' ELSE NEW.reason END
    );
    RETURN NULL;
END;
$$;

CREATE TRIGGER audit_feature_flag AFTER INSERT OR UPDATE OR DELETE ON lockkeeper.feature_flag
FOR EACH ROW EXECUTE FUNCTION lockkeeper.audit_feature_flag();

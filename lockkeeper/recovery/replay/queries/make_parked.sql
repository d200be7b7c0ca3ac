CREATE SCHEMA IF NOT EXISTS lockkeeper_parked;
CREATE TABLE IF NOT EXISTS lockkeeper_parked.writes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    commit_lsn pg_lsn NOT NULL,
    committed_at timestamptz NOT NULL,
    xid bigint NOT NULL,
    table_name text NOT NULL,
    operation text NOT NULL,
    row_key jsonb NOT NULL,
    row_values jsonb NOT NULL,
    reason text NOT NULL,
    carried boolean NOT NULL
);
COMMENT ON TABLE lockkeeper_parked.writes IS
    'Writes that Lockkeeper could not carry over as they were made. Drop the schema when they are dealt with.';

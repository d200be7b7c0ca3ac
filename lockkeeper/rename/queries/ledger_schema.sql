CREATE TABLE IF NOT EXISTS lockkeeper.column_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    old_name text NOT NULL,
    new_name text NOT NULL,
    terms jsonb NOT NULL,
    found jsonb NOT NULL DEFAULT '{}',
    stage text NOT NULL,
    since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    token bigint NOT NULL DEFAULT 0,
    worker text,
    parity jsonb,
    scream_until timestamptz,
    quarantine_until timestamptz,
    throttle jsonb NOT NULL DEFAULT '{}',
    throttled_by text[] NOT NULL DEFAULT '{}',
    filling_since timestamptz,
    rows_total bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS column_change_open ON lockkeeper.column_change (schema_name, table_name, old_name)
    WHERE stage NOT IN ('dropped', 'aborted');
CREATE TABLE IF NOT EXISTS lockkeeper.column_change_event (
    change_id bigint NOT NULL REFERENCES lockkeeper.column_change,
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    stage text NOT NULL,
    done_by text NOT NULL,
    reason text NOT NULL
);
CREATE INDEX IF NOT EXISTS column_change_event_change ON lockkeeper.column_change_event (change_id);
CREATE TABLE IF NOT EXISTS lockkeeper.backfill_chunk (
    change_id bigint NOT NULL REFERENCES lockkeeper.column_change,
    number int NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    file_node bigint NOT NULL,
    by_pages boolean NOT NULL,
    after text[],
    upto text[],
    token bigint NOT NULL,
    rows_written bigint NOT NULL DEFAULT 0,
    done boolean NOT NULL DEFAULT false,
    PRIMARY KEY (change_id, number)
);
CREATE TABLE IF NOT EXISTS lockkeeper.backfill_parked (
    change_id bigint NOT NULL REFERENCES lockkeeper.column_change,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    row_key text[] NOT NULL,
    shown text NOT NULL,
    sqlstate text NOT NULL,
    message text NOT NULL,
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (change_id, schema_name, table_name, row_key)
)

CREATE SCHEMA IF NOT EXISTS lockkeeper_replay;
CREATE TABLE IF NOT EXISTS lockkeeper_replay.progress (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    end_lsn pg_lsn NOT NULL DEFAULT '0/0',
    transactions bigint NOT NULL DEFAULT 0,
    changes bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
CREATE TABLE IF NOT EXISTS lockkeeper_replay.silenced_trigger (
    table_name text NOT NULL,
    trigger_name text NOT NULL,
    enabled "char" NOT NULL,
    PRIMARY KEY (table_name, trigger_name)
);
INSERT INTO lockkeeper_replay.progress (only_row) VALUES (true) ON CONFLICT DO NOTHING;

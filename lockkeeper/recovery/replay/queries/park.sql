INSERT INTO lockkeeper_parked.writes
    (commit_lsn, committed_at, xid, table_name, operation, row_key, row_values, reason, carried)
SELECT w.commit_lsn, w.committed_at, w.xid, w."table", w.operation, w.row_key, w.row_values, w.reason, w.carried
FROM pg_catalog.jsonb_to_recordset(%s::jsonb) AS w (
    commit_lsn pg_lsn, committed_at timestamptz, xid bigint, "table" text, operation text, row_key jsonb,
    row_values jsonb, reason text, carried boolean
)

SELECT commit_lsn::text, committed_at, xid, table_name, operation, row_key, row_values, reason, carried
FROM lockkeeper_parked.writes
ORDER BY id

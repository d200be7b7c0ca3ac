-- Physical and logical receivers: how far each is behind, in bytes and seconds. Of one that this role may not see the
-- state is NULL.
SELECT
    COALESCE(NULLIF(r.application_name, ''), r.client_addr::text, r.pid::text),
    r.state,
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.replay_lsn)::bigint,
    COALESCE(EXTRACT(EPOCH FROM r.replay_lag), 0)::float8
FROM pg_catalog.pg_stat_replication AS r
WHERE r.state IS DISTINCT FROM 'backup'
ORDER BY 1

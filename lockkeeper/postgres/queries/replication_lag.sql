-- How far each standby is behind, in bytes of WAL. Of one that the role may not see (without pg_read_all_stats) the
-- state is NULL.
SELECT
    COALESCE(NULLIF(application_name, ''), client_addr::text, 'standby'),
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), replay_lsn)::bigint,
    state IS NULL
FROM pg_catalog.pg_stat_replication
WHERE NOT pg_catalog.pg_is_in_recovery()
  AND (state IS NULL OR state IN ('streaming', 'catchup'))

-- How far each standby is behind, in bytes of WAL; NULL where the role may not see it.
SELECT
    COALESCE(NULLIF(application_name, ''), client_addr::text, 'standby'),
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), replay_lsn)::bigint
FROM pg_catalog.pg_stat_replication
WHERE state IN ('streaming', 'catchup')

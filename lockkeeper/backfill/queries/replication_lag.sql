SELECT max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), replay_lsn))
FROM pg_catalog.pg_stat_replication
WHERE state IN ('streaming', 'catchup') AND replay_lsn IS NOT NULL

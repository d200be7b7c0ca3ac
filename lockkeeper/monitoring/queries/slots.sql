-- Replication slots: the WAL that each keeps, and whether anybody reads it.
SELECT
    s.slot_name,
    s.active,
    COALESCE(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn), 0)::bigint,
    COALESCE(s.wal_status, ''),
    s.safe_wal_size::bigint
FROM pg_catalog.pg_replication_slots AS s
WHERE NOT s.temporary
ORDER BY 1

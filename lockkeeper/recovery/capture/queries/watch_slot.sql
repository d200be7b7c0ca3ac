-- Is the slot there with its WAL, how much does it keep back, and is its sentinel at work?
SELECT
    count(s.restart_lsn) = 1 AS is_there,
    max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)) AS retained,
    EXISTS (
        SELECT FROM pg_catalog.pg_stat_activity AS a
        WHERE a.application_name = %(sentinel)s AND a.state = 'active'
    ) AS has_sentinel
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name = %(slot)s

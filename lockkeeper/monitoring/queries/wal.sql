-- WAL that was ever written, and checkpoints by the clock and because WAL ran out.
SELECT
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0')::bigint,
    b.checkpoints_timed::bigint,
    b.checkpoints_req::bigint
FROM pg_catalog.pg_stat_bgwriter AS b

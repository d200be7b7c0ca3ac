-- Changes whenever the counters may have started again: another server, a restart, a crash (the
-- background writer's statistics are then reset too), pg_stat_reset of the database or of one table.
SELECT pg_catalog.concat_ws(
    ' ',
    d.oid,
    extract(epoch FROM pg_catalog.pg_postmaster_start_time()),
    (SELECT extract(epoch FROM stats_reset) FROM pg_catalog.pg_stat_bgwriter),
    COALESCE(extract(epoch FROM pg_catalog.pg_stat_get_db_stat_reset_time(d.oid))::text, 'never')
)
FROM pg_catalog.pg_database AS d
WHERE d.datname = pg_catalog.current_database()

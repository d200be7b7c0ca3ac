-- Transactions of this database that are older than allowed: a migration would wait for them.
SELECT
    pid,
    COALESCE(NULLIF(application_name, ''), 'unnamed'),
    usename,
    state,
    EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - xact_start)::float8
FROM pg_catalog.pg_stat_activity
WHERE datname = pg_catalog.current_database()
  AND pid <> pg_catalog.pg_backend_pid()
  AND backend_type = 'client backend'
  AND xact_start < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %(age_s)s)
ORDER BY xact_start

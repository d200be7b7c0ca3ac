-- Sessions of this database that have been in a transaction for a while, the oldest first.
SELECT
    a.pid,
    COALESCE(a.application_name, '') AS application,
    COALESCE(a.usename, '') AS user_name,
    COALESCE(a.state, '') AS state,
    COALESCE(a.wait_event_type, '') AS wait_event_type,
    EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - a.xact_start)::float8 AS transaction_s,
    COALESCE(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - a.query_start), 0)::float8 AS query_s,
    COALESCE(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - a.state_change), 0)::float8 AS state_s,
    COALESCE(pg_catalog.age(a.backend_xmin), 0)::bigint AS snapshot_age,
    COALESCE(pg_catalog.left(a.query, 2000), '') AS statement
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datname = pg_catalog.current_database()
  AND a.backend_type = 'client backend'
  AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.xact_start < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %(at_least_s)s)
ORDER BY a.xact_start
LIMIT %(limit)s

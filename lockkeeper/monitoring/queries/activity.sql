-- Who is connected, counted over the whole server, and beside the counts the sessions of this database that have been
-- in a transaction for a while, the oldest first: one row each, or one row without a session. The server's list is read
-- once. Of a session that this role may not see even the type is NULL: it is known by having a user and a database.
WITH seen AS MATERIALIZED (
    SELECT a.*, a.datname = pg_catalog.current_database() AS is_here
    FROM pg_catalog.pg_stat_activity AS a
), counted AS (
    SELECT
        count(*) FILTER (
            WHERE s.backend_type = 'client backend'
               OR s.backend_type IS NULL AND s.usesysid IS NOT NULL AND s.datid IS NOT NULL
        )::int AS connections,
        count(*) FILTER (WHERE s.backend_type = 'client backend' AND s.state = 'active')::int AS active,
        count(*) FILTER (WHERE s.backend_type = 'client backend' AND s.state LIKE 'idle in transaction%%')::int
            AS idle_in_transaction,
        count(*) FILTER (WHERE s.wait_event_type = 'Lock' AND s.is_here)::int AS waiting,
        count(*) FILTER (
            WHERE s.backend_type IS NULL AND s.usesysid IS NOT NULL AND s.datid IS NOT NULL
        )::int AS hidden,
        pg_catalog.current_setting('max_connections')::int
            - pg_catalog.current_setting('superuser_reserved_connections')::int AS max_connections
    FROM seen AS s
)
SELECT
    counted.*,
    o.pid,
    COALESCE(o.application_name, '') AS application,
    COALESCE(o.usename, '') AS user_name,
    COALESCE(o.state, '') AS state,
    COALESCE(o.wait_event_type, '') AS wait_event_type,
    EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - o.xact_start)::float8 AS transaction_s,
    COALESCE(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - o.query_start), 0)::float8 AS query_s,
    COALESCE(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - o.state_change), 0)::float8 AS state_s,
    COALESCE(pg_catalog.age(o.backend_xmin), 0)::bigint AS snapshot_age,
    COALESCE(pg_catalog.left(o.query, 2000), '') AS statement
FROM counted
LEFT JOIN LATERAL (
    SELECT s.*
    FROM seen AS s
    WHERE s.is_here
      AND s.backend_type = 'client backend'
      AND s.pid <> pg_catalog.pg_backend_pid()
      AND s.xact_start < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %(at_least_s)s)
    ORDER BY s.xact_start
    LIMIT %(limit)s
) AS o ON true
ORDER BY o.xact_start

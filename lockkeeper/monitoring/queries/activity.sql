-- Client sessions of the whole server, counted, and how many of this database's wait for a lock. Of a session that
-- this role may not see even the type is NULL: it is known by having a user and a database.
SELECT
    count(*) FILTER (
        WHERE a.backend_type = 'client backend'
           OR a.backend_type IS NULL AND a.usesysid IS NOT NULL AND a.datid IS NOT NULL
    )::int AS connections,
    count(*) FILTER (WHERE a.backend_type = 'client backend' AND a.state = 'active')::int AS active,
    count(*) FILTER (WHERE a.backend_type = 'client backend' AND a.state LIKE 'idle in transaction%')::int
        AS idle_in_transaction,
    count(*) FILTER (WHERE a.wait_event_type = 'Lock' AND a.datname = pg_catalog.current_database())::int AS waiting,
    count(*) FILTER (
        WHERE a.backend_type IS NULL AND a.usesysid IS NOT NULL AND a.datid IS NOT NULL
    )::int AS hidden,
    pg_catalog.current_setting('max_connections')::int
        - pg_catalog.current_setting('superuser_reserved_connections')::int AS max_connections
FROM pg_catalog.pg_stat_activity AS a

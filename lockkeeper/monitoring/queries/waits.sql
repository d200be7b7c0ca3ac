-- Every session of this database that waits for a lock, with one of those that it waits for in each row.
WITH waiter AS MATERIALIZED (
    SELECT a.*, pg_catalog.pg_blocking_pids(a.pid) AS blockers
    FROM pg_catalog.pg_stat_activity AS a
    WHERE a.wait_event_type = 'Lock' AND a.datname = pg_catalog.current_database()
), wanted AS MATERIALIZED (
    SELECT DISTINCT ON (l.pid) l.pid, l.mode, l.relation, l.locktype, l.waitstart
    FROM pg_catalog.pg_locks AS l
    WHERE NOT l.granted
    ORDER BY l.pid, l.waitstart
)
SELECT
    waiter.pid,
    COALESCE(waiter.application_name, ''),
    waiter.backend_type,
    COALESCE(pg_catalog.left(waiter.query, 2000), ''),
    COALESCE(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - wanted.waitstart), 0)::float8,
    wanted.mode || ' on ' || COALESCE(wanted.relation::regclass::text, 'a ' || wanted.locktype),
    blocker.pid,
    COALESCE(blocker.application_name, ''),
    COALESCE(blocker.usename, blocker.backend_type, ''),
    COALESCE(blocker.state, blocker.backend_type, ''),
    COALESCE(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - blocker.xact_start), 0)::float8,
    COALESCE(pg_catalog.left(blocker.query, 2000), '')
FROM waiter
CROSS JOIN LATERAL (SELECT DISTINCT b.pid FROM pg_catalog.unnest(waiter.blockers) AS b (pid)) AS blocking
JOIN pg_catalog.pg_stat_activity AS blocker ON blocker.pid = blocking.pid
LEFT JOIN wanted ON wanted.pid = waiter.pid
ORDER BY 5 DESC

-- Sessions of this database that wait for a lock, with one of those that they wait for in each row. Bounded, since a
-- queue of hundreds would be asked about quadratically: the 200 that wait longest, and of each the migration, those
-- that wait for nobody themselves, and then the oldest. Process 0 is a prepared transaction.
WITH waiter AS MATERIALIZED (
    SELECT a.*, pg_catalog.pg_blocking_pids(a.pid) AS blockers
    FROM (
        SELECT * FROM pg_catalog.pg_stat_activity AS w
        WHERE w.wait_event_type = 'Lock' AND w.datname = pg_catalog.current_database()
        ORDER BY w.query_start
        LIMIT 200
    ) AS a
), wanted AS MATERIALIZED (
    SELECT DISTINCT ON (l.pid) l.pid, l.mode, l.relation, l.locktype, l.waitstart
    FROM pg_catalog.pg_locks AS l
    WHERE NOT l.granted
    ORDER BY l.pid, l.waitstart
), blocking AS MATERIALIZED (
    SELECT
        w.pid AS waiter_pid,
        b.pid AS blocker_pid,
        s.application_name, s.usename, s.backend_type, s.state, s.xact_start, s.query,
        pg_catalog.row_number() OVER (
            PARTITION BY w.pid
            ORDER BY s.application_name LIKE 'lockkeeper:migrate:%' DESC NULLS LAST,
                s.wait_event_type IS NOT DISTINCT FROM 'Lock', s.query_start, b.pid
        ) AS position
    FROM waiter AS w
    CROSS JOIN LATERAL (SELECT DISTINCT u.pid FROM pg_catalog.unnest(w.blockers) AS u (pid)) AS b
    LEFT JOIN pg_catalog.pg_stat_activity AS s ON s.pid = b.pid
    WHERE s.pid IS NOT NULL OR b.pid = 0
)
SELECT
    waiter.pid,
    COALESCE(waiter.application_name, ''),
    waiter.backend_type,
    COALESCE(pg_catalog.left(waiter.query, 2000), ''),
    COALESCE(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - wanted.waitstart), 0)::float8,
    wanted.mode || ' on ' || COALESCE(wanted.relation::regclass::text, 'a ' || wanted.locktype),
    blocking.blocker_pid,
    COALESCE(blocking.application_name, ''),
    COALESCE(blocking.usename, blocking.backend_type, ''),
    COALESCE(blocking.state, blocking.backend_type, 'a prepared transaction, see pg_prepared_xacts'),
    COALESCE(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - blocking.xact_start), 0)::float8,
    COALESCE(pg_catalog.left(blocking.query, 2000), '')
FROM waiter
JOIN blocking ON blocking.waiter_pid = waiter.pid AND blocking.position <= 5
LEFT JOIN wanted ON wanted.pid = waiter.pid
ORDER BY 5 DESC

-- Every session of this database that waits for a lock, with one of its blockers per row.
SELECT
    waiter.pid AS waiter_pid,
    waiter.application_name AS waiter_application,
    COALESCE(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - wait.started), 0)::float8 AS waiting_s,
    blocker.pid AS blocker_pid,
    blocker.application_name AS blocker_application,
    blocker.usename AS blocker_user,
    blocker.state AS blocker_state,
    COALESCE(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - blocker.xact_start), 0)::float8 AS transaction_s,
    wait.wants
FROM pg_catalog.pg_stat_activity AS waiter
CROSS JOIN LATERAL (
    SELECT min(l.waitstart) AS started, min(l.mode || ' on ' || l.relation::regclass::text) AS wants
    FROM pg_catalog.pg_locks AS l
    WHERE l.pid = waiter.pid AND NOT l.granted
) AS wait
CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(waiter.pid)) AS blocking (pid)
JOIN pg_catalog.pg_stat_activity AS blocker ON blocker.pid = blocking.pid
WHERE waiter.wait_event_type = 'Lock'
  AND waiter.datname = pg_catalog.current_database()

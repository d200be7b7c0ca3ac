-- Sessions of one run, known by name or by (pid, start), that wait for a lock which another session of it holds.
WITH own AS MATERIALIZED (
    SELECT a.*, a.pid::text || '@' || EXTRACT(EPOCH FROM a.backend_start)::text AS backend
    FROM pg_catalog.pg_stat_activity AS a
    WHERE a.datname = pg_catalog.current_database()
      AND a.pid <> pg_catalog.pg_backend_pid()
      AND (
          a.application_name = %(name)s
          OR (a.pid::text || '@' || EXTRACT(EPOCH FROM a.backend_start)::text) = ANY (%(backends)s)
      )
)
SELECT
    w.pid,
    COALESCE(pg_catalog.left(w.query, 500), ''),
    COALESCE(l.mode || ' on ' || COALESCE(l.relation::regclass::text, 'a ' || l.locktype), 'a lock'),
    h.pid,
    h.backend,
    COALESCE(h.state, ''),
    COALESCE(pg_catalog.left(h.query, 500), ''),
    EXISTS (SELECT FROM own AS o WHERE o.pid <> w.pid AND o.backend_xid IS NOT NULL)
FROM own AS w
JOIN own AS h ON h.pid = ANY (pg_catalog.pg_blocking_pids(w.pid))
LEFT JOIN pg_catalog.pg_locks AS l ON l.pid = w.pid AND NOT l.granted
WHERE w.wait_event_type = 'Lock'
ORDER BY h.state = 'idle in transaction' DESC, w.pid, h.pid
LIMIT 1

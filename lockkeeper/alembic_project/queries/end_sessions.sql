-- Terminates the sessions of one run, known by name or by (pid, start), and returns those that were still there.
SELECT a.pid, pg_catalog.pg_terminate_backend(a.pid)
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datname = pg_catalog.current_database()
  AND a.pid <> pg_catalog.pg_backend_pid()
  AND (
      a.application_name = %(name)s
      OR (a.pid::text || '@' || EXTRACT(EPOCH FROM a.backend_start)::text) = ANY (%(backends)s)
  )

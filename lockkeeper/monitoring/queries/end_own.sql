-- Cancel the statements of our own sessions, or end the sessions; the names are looked at again, here.
SELECT
    a.pid,
    CASE WHEN %(terminate)s THEN pg_catalog.pg_terminate_backend(a.pid) ELSE pg_catalog.pg_cancel_backend(a.pid) END
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datname = pg_catalog.current_database()
  AND a.pid = ANY (%(pids)s)
  AND a.application_name = ANY (%(names)s)

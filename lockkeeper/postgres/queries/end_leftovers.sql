-- Terminates the sessions of earlier runs and returns those that were still there.
SELECT pid, pg_catalog.pg_terminate_backend(pid)
FROM pg_catalog.pg_stat_activity
WHERE datname = %(database)s
  AND application_name LIKE %(pattern)s
  AND application_name <> %(own)s

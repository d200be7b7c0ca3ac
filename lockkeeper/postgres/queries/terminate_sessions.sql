-- Terminates every session of a database but those to keep, autovacuum's workers too; returns who was there.
SELECT a.pid, COALESCE(a.usename::text, a.backend_type, 'unknown'), pg_catalog.pg_terminate_backend(a.pid)
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datname = %(database)s
  AND a.pid <> ALL (%(keep)s::int[])
  AND a.pid <> pg_catalog.pg_backend_pid()

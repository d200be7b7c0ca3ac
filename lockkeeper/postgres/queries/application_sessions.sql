-- The sessions of a database that are not Lockkeeper's own; what a role may not see counts as a client's.
SELECT a.pid, COALESCE(a.usename::text, 'unknown')
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datname = %s
  AND COALESCE(a.backend_type, 'client backend') = 'client backend'
  AND COALESCE(a.application_name, '') NOT LIKE 'lockkeeper:%%'

-- Who holds the migration lock of a database: advisory locks are scoped to the database of the session.
SELECT l.pid, a.application_name, a.usename, a.backend_start
FROM pg_catalog.pg_locks AS l
LEFT JOIN pg_catalog.pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory'
  AND l.granted
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND l.classid::bigint = %(lock_class)s
  AND l.objid::bigint = pg_catalog.hashtext(%(database)s)::bigint & 4294967295
  AND l.objsubid = 2

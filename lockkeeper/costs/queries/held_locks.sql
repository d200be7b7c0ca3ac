-- Locks on relations of this database that the sessions of one run hold, as own_locks.sql reads them from within.
SELECT l.relation::text, l.mode
FROM pg_catalog.pg_locks AS l
WHERE l.pid = ANY (%(pids)s)
  AND l.locktype = 'relation'
  AND l.granted
  AND l.relation > 16383
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
  AND l.mode IN (
      'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
  )

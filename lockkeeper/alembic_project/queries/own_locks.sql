-- Relations that this session holds so that somebody else could have to wait. No parameters and no percent sign.
-- A table that was dropped meanwhile, an index and a TOAST table have no name here.
SELECT
    l.relation::text,
    pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
    l.mode
FROM pg_catalog.pg_locks AS l
LEFT JOIN pg_catalog.pg_class AS c
    ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'm', 'v', 'f', 'S') AND c.relpersistence <> 't'
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname <> 'pg_toast'
WHERE l.pid = pg_catalog.pg_backend_pid()
  AND l.locktype = 'relation'
  AND l.granted
  AND l.relation > 16383
  AND l.mode IN (
      'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
  )

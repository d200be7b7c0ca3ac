-- Tables that the present role may not read, or only through row security: pg_dump would fail on them.
SELECT c.oid::regclass::text
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'S')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\_%%'
  AND NOT (
      pg_catalog.has_schema_privilege(n.oid, 'USAGE')
      AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
      AND (c.relkind = 'S' OR NOT pg_catalog.row_security_active(c.oid))
  )
ORDER BY 1

-- A table's file and its live column numbers: both change when a revision rewrites or re-creates anything in it.
SELECT
    pg_catalog.format('%%I.%%I', n.nspname, c.relname),
    pg_catalog.format(
        '%%s:%%s',
        pg_catalog.pg_relation_filenode(c.oid),
        pg_catalog.string_agg(a.attnum::text, ',' ORDER BY a.attnum)
    )
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'm')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\_%%'
GROUP BY c.oid, n.nspname, c.relname

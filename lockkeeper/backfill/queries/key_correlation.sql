-- Pages of the table, and how far the order of a column is the order on disk (-1 to 1), if that is known.
SELECT c.relpages, s.correlation::float8
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_stats AS s
    ON s.schemaname = n.nspname AND s.tablename = c.relname AND pg_catalog.quote_ident(s.attname) = $column
WHERE c.oid = $oid AND s.correlation IS NOT NULL
LIMIT 1

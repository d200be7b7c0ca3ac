-- Partitions one level below; those being detached do not count.
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text
FROM pg_catalog.pg_inherits AS h
JOIN pg_catalog.pg_class AS c ON c.oid = h.inhrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE h.inhparent = $oid AND NOT h.inhdetachpending AND c.relispartition AND c.relkind IN ('r', 'p')
ORDER BY c.relname

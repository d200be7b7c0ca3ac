-- The table and all below it (partitions, inheriting tables), the table itself first.
WITH RECURSIVE tree (oid, depth) AS (
    SELECT $oid::oid, 0
    UNION ALL
    SELECT i.inhrelid, t.depth + 1
    FROM tree AS t JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
)
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, c.relispartition,
    greatest(c.reltuples, 0)::bigint, pg_catalog.pg_relation_size(c.oid)::bigint
FROM (SELECT oid, min(depth) AS depth FROM tree GROUP BY oid) AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY t.depth, n.nspname, c.relname

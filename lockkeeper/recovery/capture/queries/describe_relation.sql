-- What tells a renamed column from another one, and a new partition's root.
SELECT pg_catalog.jsonb_build_object(
    'numbers', (
        SELECT COALESCE(pg_catalog.jsonb_object_agg(a.attname, a.attnum), '{}')
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ),
    'root', CASE WHEN c.relispartition THEN (
        SELECT pg_catalog.jsonb_build_array(n.nspname, r.relname)
        FROM pg_catalog.pg_class AS r
        JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
        WHERE r.oid = pg_catalog.pg_partition_root(c.oid)
    ) END
)
FROM pg_catalog.pg_class AS c
WHERE c.oid = %(relation)s

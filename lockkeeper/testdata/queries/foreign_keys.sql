SELECT
    f.conrelid,
    (
        SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place)
        FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = k.number
    ) AS columns,
    pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(p.relname) AS parent,
    (
        SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place)
        FROM pg_catalog.unnest(f.confkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.confrelid AND a.attnum = k.number
    ) AS parent_columns,
    f.condeferrable
FROM pg_catalog.pg_constraint AS f
JOIN pg_catalog.pg_class AS p ON p.oid = f.confrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid = ANY (%s)
ORDER BY f.conrelid, f.conname

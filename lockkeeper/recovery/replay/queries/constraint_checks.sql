-- For each foreign key and each valid check: a query that counts the rows that break it.
SELECT
    pg_catalog.format('%I.%I', n.nspname, c.relname) AS table_name,
    pg_catalog.quote_ident(k.conname) AS constraint_name,
    CASE k.contype
        WHEN 'c' THEN pg_catalog.format(
            'SELECT count(*) FROM ONLY %I.%I WHERE NOT (%s)', n.nspname, c.relname,
            pg_catalog.pg_get_expr(k.conbin, k.conrelid)
        )
        ELSE pg_catalog.format(
            'SELECT count(*) FROM ONLY %I.%I AS f WHERE %s AND NOT EXISTS (SELECT FROM %s%I.%I AS p WHERE %s)',
            n.nspname, c.relname, f.filled, CASE r.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END,
            m.nspname, r.relname, f.matches
        )
    END AS query
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid AND c.relkind = 'r'
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class AS r ON r.oid = k.confrelid
LEFT JOIN pg_catalog.pg_namespace AS m ON m.oid = r.relnamespace
LEFT JOIN LATERAL (
    SELECT
        pg_catalog.string_agg(
            pg_catalog.format('f.%I IS NOT NULL', a.attname), ' AND ' ORDER BY x.position
        ) AS filled,
        pg_catalog.string_agg(
            pg_catalog.format('p.%I = f.%I', b.attname, a.attname), ' AND ' ORDER BY x.position
        ) AS matches
    FROM ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) WITH ORDINALITY AS x (own, theirs, position)
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = x.own
    JOIN pg_catalog.pg_attribute AS b ON b.attrelid = k.confrelid AND b.attnum = x.theirs
) AS f ON k.contype = 'f'
WHERE k.contype IN ('c', 'f')
  AND k.convalidated
  AND n.nspname !~ '^pg_(catalog|toast)'
  AND n.nspname <> 'information_schema'

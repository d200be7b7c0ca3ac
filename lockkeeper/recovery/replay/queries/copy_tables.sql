-- Every table of the copy: how its columns are written, and which index finds a row.
WITH key_index AS (
    -- The primary key, else a unique index on columns that are never null and that is checked at once.
    SELECT DISTINCT ON (i.indrelid) i.indrelid, i.indexrelid, i.indkey, i.indclass, i.indnkeyatts
    FROM pg_catalog.pg_index AS i
    WHERE i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_attribute AS a
          WHERE a.attrelid = i.indrelid
            AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
            AND NOT a.attnotnull
      )
    ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, i.indexrelid
),
key_column AS (
    SELECT
        k.indrelid,
        pg_catalog.jsonb_agg(
            pg_catalog.jsonb_build_object(
                'name', a.attname,
                'equals', pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname)
            ) ORDER BY p.position
        ) AS columns
    FROM key_index AS k
    CROSS JOIN LATERAL pg_catalog.generate_series(0, k.indnkeyatts - 1) AS p (position)
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.indrelid AND a.attnum = k.indkey[p.position]
    JOIN pg_catalog.pg_opclass AS c ON c.oid = k.indclass[p.position]
    JOIN pg_catalog.pg_amop AS m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
        AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
    JOIN pg_catalog.pg_operator AS o ON o.oid = m.amopopr
    JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace
    GROUP BY k.indrelid, k.indnkeyatts
    HAVING count(*) = k.indnkeyatts
)
SELECT
    n.nspname AS schema_name,
    c.relname AS name,
    pg_catalog.format('%I.%I', n.nspname, c.relname) AS identity,
    c.relkind = 'p' AS is_root,
    (
        SELECT pg_catalog.jsonb_agg(
            pg_catalog.jsonb_build_object(
                'name', a.attname,
                'quoted', pg_catalog.quote_ident(a.attname),
                'type_oid', a.atttypid::bigint,
                'typmod', a.atttypmod,
                'bare_type', pg_catalog.format_type(a.atttypid, -1),
                'full_type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                'array_type', CASE
                    WHEN t.typarray <> 0 AND t.typcategory <> 'A' AND t.typtype IN ('b', 'e')
                    THEN pg_catalog.format_type(t.typarray, -1) END,
                'delimiter', t.typdelim,
                'is_generated', a.attgenerated <> '',
                'is_comparable', t.typname !~ '^reg'
            ) ORDER BY a.attnum
        )
        FROM pg_catalog.pg_attribute AS a
        JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS columns,
    k.columns AS key
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN key_column AS k ON k.indrelid = c.oid
WHERE c.relkind IN ('r', 'p')
  AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_(catalog|toast|temp_|toast_temp_)'
  AND n.nspname NOT IN ('information_schema', 'lockkeeper_replay', 'lockkeeper_parked')

-- The primary key, else a unique index over NOT NULL columns, and each column's type.
SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM (
    SELECT x.indrelid, x.indkey, x.indnkeyatts
    FROM pg_catalog.pg_index AS x
    WHERE x.indrelid = $oid
        AND x.indisunique AND x.indisvalid AND x.indimmediate
        AND x.indpred IS NULL AND x.indexprs IS NULL
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey::int2[]) AND NOT a.attnotnull
        )
    ORDER BY x.indisprimary DESC, x.indnkeyatts, x.indexrelid
    LIMIT 1
) AS x
CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k (number, place)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = k.number
WHERE k.place <= x.indnkeyatts
ORDER BY k.place

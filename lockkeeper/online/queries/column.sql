-- From 18 on a NOT NULL may be there and not yet validated: that is not NOT NULL yet.
SELECT
    pg_catalog.format_type(a.atttypid, a.atttypmod),
    pg_catalog.pg_get_expr(d.adbin, d.adrelid),
    a.attnotnull AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_constraint AS c
        WHERE c.conrelid = a.attrelid AND c.contype = 'n' AND c.conkey = ARRAY[a.attnum] AND NOT c.convalidated
    )
FROM pg_catalog.pg_attribute AS a
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = pg_catalog.to_regclass($relation) AND a.attname = $name AND a.attnum > 0
    AND NOT a.attisdropped

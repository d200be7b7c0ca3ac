SELECT
    t.oid,
    t.typname,
    t.typtype,
    CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END,
    t.typbasetype,
    t.typtypmod,
    t.typnotnull,
    coalesce(r.rngsubtype, m.rngsubtype, 0),
    (
        SELECT pg_catalog.array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
        FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = t.oid
    ) AS labels,
    CASE WHEN t.typtype = 'c' THEN (
        SELECT pg_catalog.array_agg(a.atttypid ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) END AS parts
FROM pg_catalog.pg_type AS t
LEFT JOIN pg_catalog.pg_range AS r ON r.rngtypid = t.oid
LEFT JOIN pg_catalog.pg_range AS m ON m.rngmultitypid = t.oid

-- "own value": the database computes it, or counts it up; nobody else should.
SELECT
    a.attrelid,
    a.attname,
    a.atttypid,
    a.atttypmod,
    a.attnotnull,
    a.attidentity <> ''
        OR a.attgenerated <> ''
        OR coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%%', false) AS own_value,
    EXISTS (
        SELECT FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = a.attrelid AND (i.indisunique OR i.indisexclusion) AND a.attnum = ANY (i.indkey)
    ) AS in_a_key
FROM pg_catalog.pg_attribute AS a
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum

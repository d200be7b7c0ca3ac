-- The definition as the server words it, then what a foreign key is made of.
SELECT
    c.convalidated,
    regexp_replace(pg_catalog.pg_get_constraintdef(c.oid), ' NOT VALID$$', ''),
    c.contype::text,
    c.confrelid::bigint,
    pg_catalog.array_to_json(
        ARRAY(
            SELECT a.attname::text
            FROM unnest(c.conkey) WITH ORDINALITY AS k (number, place)
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.number
            ORDER BY k.place
        )
    )::text,
    pg_catalog.array_to_json(
        ARRAY(
            SELECT a.attname::text
            FROM unnest(c.confkey) WITH ORDINALITY AS k (number, place)
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.confrelid AND a.attnum = k.number
            ORDER BY k.place
        )
    )::text,
    c.confupdtype::text || c.confdeltype::text || c.confmatchtype::text,
    c.condeferrable,
    c.condeferred
FROM pg_catalog.pg_constraint AS c
WHERE c.conrelid = pg_catalog.to_regclass($relation) AND c.conname = $name

-- PostgreSQL 18 and later: the constraint behind NOT NULL.
SELECT c.conname::text, c.convalidated
FROM pg_catalog.pg_constraint AS c
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
WHERE c.conrelid = pg_catalog.to_regclass($relation) AND c.contype = 'n' AND a.attname = $name

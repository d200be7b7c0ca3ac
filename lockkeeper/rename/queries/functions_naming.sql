-- Functions whose text has both names as words; only a hint, since a text is not parsed.
SELECT p.oid::regprocedure::text
FROM pg_catalog.pg_proc AS p
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'lockkeeper') AND n.nspname NOT LIKE 'pg\_%'
    AND p.prosrc ~ ('\m' || $column || '\M') AND p.prosrc ~ ('\m' || $table || '\M')
ORDER BY 1
LIMIT 20

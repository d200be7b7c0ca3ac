-- What an interrupted online operation leaves behind: invalid indexes and constraints that were never validated.
SELECT pg_catalog.format('index %%I.%%I is invalid (an interrupted CREATE INDEX CONCURRENTLY?)', n.nspname, c.relname)
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT (i.indisvalid AND i.indisready)
  AND n.nspname NOT LIKE 'pg\_temp%%'
UNION ALL
SELECT pg_catalog.format('constraint %%I on %%s is NOT VALID', o.conname, o.conrelid::regclass)
FROM pg_catalog.pg_constraint AS o
WHERE NOT o.convalidated
  AND o.conrelid <> 0
  AND COALESCE(pg_catalog.to_jsonb(o) ->> 'conenforced', 'true') = 'true' -- 18: NOT ENFORCED is on purpose
ORDER BY 1

-- The columns of primary keys: (table oid, attribute number).
SELECT i.indrelid::oid, k.attnum::int
FROM pg_catalog.pg_index AS i
CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) AS k (attnum)
WHERE i.indisprimary
  AND i.indrelid = ANY (%(tables)s::oid[])

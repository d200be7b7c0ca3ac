-- Columns of the key that each table's rows can be told apart by: the primary key, else the shortest valid unique
-- index over plain NOT NULL columns. No row for a table that has none.
WITH candidate AS (
    SELECT DISTINCT ON (i.indrelid) w.name, i.indrelid, i.indkey, i.indnkeyatts
    FROM pg_catalog.unnest(%(tables)s::text[]) AS w (name)
    JOIN pg_catalog.pg_index AS i ON i.indrelid = w.name::regclass
    WHERE i.indisunique
      AND i.indisvalid
      AND i.indpred IS NULL
      AND i.indexprs IS NULL
      AND (
          SELECT pg_catalog.bool_and(a.attnotnull)
          FROM pg_catalog.pg_attribute AS a
          WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
      )
    ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, i.indexrelid
)
SELECT c.name, pg_catalog.array_agg(a.attname::text ORDER BY k.place)
FROM candidate AS c
CROSS JOIN LATERAL pg_catalog.unnest((c.indkey::int2[])[0:c.indnkeyatts - 1])
    WITH ORDINALITY AS k (attnum, place)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.indrelid AND a.attnum = k.attnum
GROUP BY c.name

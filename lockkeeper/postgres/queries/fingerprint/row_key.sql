-- Columns of the key that rows can be told apart by: the primary key, else the shortest valid unique index over
-- plain NOT NULL columns. No row when there is none.
WITH candidate AS (
    SELECT i.indexrelid, i.indrelid, i.indkey, i.indnkeyatts
    FROM pg_catalog.pg_index AS i
    WHERE i.indrelid = %(table)s::regclass
      AND i.indisunique
      AND i.indisvalid
      AND i.indpred IS NULL
      AND i.indexprs IS NULL
      AND (
          SELECT pg_catalog.bool_and(a.attnotnull)
          FROM pg_catalog.pg_attribute AS a
          WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
      )
    ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid
    LIMIT 1
)
SELECT a.attname
FROM candidate AS c
CROSS JOIN LATERAL pg_catalog.unnest((c.indkey::int2[])[0:c.indnkeyatts - 1])
    WITH ORDINALITY AS k (attnum, place)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.indrelid AND a.attnum = k.attnum
ORDER BY k.place

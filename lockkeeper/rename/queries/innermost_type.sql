-- What a column's values consist of at last, through domains over domains and arrays of arrays; a level
-- without a length has that of the level around it.
WITH RECURSIVE level AS (
    SELECT 0 AS depth, a.atttypid AS type_oid, a.atttypmod AS modifier, 0 AS arrays
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = $oid AND a.attname = $column
    UNION ALL
    SELECT level.depth + 1,
        CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END,
        CASE WHEN t.typtype = 'd' AND t.typtypmod >= 0 THEN t.typtypmod ELSE level.modifier END,
        level.arrays + CASE WHEN t.typtype = 'd' THEN 0 ELSE 1 END
    FROM level JOIN pg_catalog.pg_type AS t ON t.oid = level.type_oid
    WHERE t.typtype = 'd' OR (t.typelem <> 0 AND t.typlen = -1)
)
SELECT pg_catalog.format_type(type_oid, NULL), modifier, arrays FROM level ORDER BY depth DESC LIMIT 1

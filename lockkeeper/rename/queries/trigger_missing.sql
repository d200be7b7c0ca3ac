-- Tables of the tree on which the trigger is not there, or would not fire for every writer.
WITH RECURSIVE tree (oid) AS (
    SELECT $relation::regclass::oid
    UNION
    SELECT i.inhrelid FROM tree AS t JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
)
SELECT t.oid::regclass::text
FROM tree AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
LEFT JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = t.oid AND g.tgname = $trigger AND g.tgenabled = 'A'
WHERE c.relkind IN ('r', 'p') AND g.oid IS NULL
ORDER BY 1

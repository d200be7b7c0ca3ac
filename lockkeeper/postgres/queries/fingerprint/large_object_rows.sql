-- Name and packed hashes (of the object's number, owner, grants, length, content) of the large objects whose
-- number's hash is in the first {share} of {buckets} buckets, as they are remembered. objects is the query
-- large_objects.
WITH numbered AS (
    SELECT o.*, pg_catalog.hashint8extended(o.oid::int8, 0) AS number
    FROM (
        {objects}
    ) AS o
)
SELECT
    n.oid::text,
    pg_catalog.int8send(n.number) || pg_catalog.int8send(n.owner) || pg_catalog.int8send(n.grants)
        || pg_catalog.int8send(n.length)
        || pg_catalog.int8send(pg_catalog.hashtextextended(n.content::text COLLATE "C", 0))
FROM numbered AS n
WHERE n.number & ({buckets} - 1) < {share}
ORDER BY n.oid

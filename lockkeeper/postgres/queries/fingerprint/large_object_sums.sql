-- One row: number of large objects and the sums of the hashes that the query large_objects has.
SELECT
    count(*),
    COALESCE(sum(o.owner), 0) AS owner,
    COALESCE(sum(o.grants), 0) AS grants,
    COALESCE(sum(o.length), 0) AS length,
    COALESCE(sum(o.content), 0) AS content
FROM (
    {objects}
) AS o

-- One chunk: rows, rows out of step, and the sums of both sides' hashes.
SELECT
    count(*),
    count(*) FILTER (WHERE $out_of_step),
    coalesce(sum(pg_catalog.hashtextextended(($old)::text, 0)), 0),
    coalesce(sum(pg_catalog.hashtextextended(($new)::text, 0)), 0)
FROM $table
WHERE $condition

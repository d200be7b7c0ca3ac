-- Sequences that have used more than half of what they can give.
SELECT
    pg_catalog.format('%I.%I', q.schemaname, q.sequencename),
    ((q.last_value - q.min_value)::float8 / NULLIF(q.max_value - q.min_value, 0))::float8 AS used
FROM pg_catalog.pg_sequences AS q
WHERE NOT q.cycle AND q.increment_by > 0 AND q.last_value > q.min_value + (q.max_value - q.min_value) / 2
ORDER BY 2 DESC
LIMIT 20

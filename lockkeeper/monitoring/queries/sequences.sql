-- Sequences that have used more than half of what they can give, and how many this role may not read. A sequence
-- that nobody has drawn from has no last value either.
WITH known AS MATERIALIZED (
    SELECT
        pg_catalog.format('%I.%I', q.schemaname, q.sequencename) AS name,
        (q.last_value::float8 - q.min_value) / NULLIF(q.max_value::float8 - q.min_value, 0) AS used,
        pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE') AS readable
    FROM pg_catalog.pg_sequences AS q
    JOIN pg_catalog.pg_namespace AS n ON n.nspname = q.schemaname
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = q.sequencename
    WHERE NOT q.cycle AND q.increment_by > 0
)
SELECT f.name, f.used, (SELECT count(*) FILTER (WHERE NOT k.readable) FROM known AS k)::int AS hidden
FROM (SELECT 1) AS always
LEFT JOIN LATERAL (
    SELECT k.name, k.used FROM known AS k WHERE k.used > 0.5 ORDER BY k.used DESC LIMIT 20
) AS f ON true

-- Values of a column that cut the table into $parts parts of about the same size, as the statistics know it.
SELECT h.bound
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_stats AS s
    ON s.schemaname = n.nspname AND s.tablename = c.relname AND pg_catalog.quote_ident(s.attname) = $column
CROSS JOIN LATERAL unnest(s.histogram_bounds::text::text[]) WITH ORDINALITY AS h (bound, place)
WHERE c.oid = $oid AND h.place IN (
    SELECT 1 + part * (pg_catalog.array_length(s.histogram_bounds::text::text[], 1) - 1) / $parts
    FROM generate_series(1, $parts - 1) AS part
)
ORDER BY h.place

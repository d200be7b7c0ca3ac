SELECT
    id, schema_name, table_name, terms::text, found::text, stage, extract(EPOCH FROM since)::float8, token,
    parity::text, extract(EPOCH FROM scream_until)::float8, extract(EPOCH FROM quarantine_until)::float8,
    throttle::text, throttled_by, extract(EPOCH FROM filling_since)::float8, rows_total
FROM lockkeeper.column_change
WHERE $condition
ORDER BY id DESC

INSERT INTO readings (mood, celsius, tags, during, serial_no)
SELECT (ARRAY['fine', 'bad']::mood[])[n % 2 + 1], n + 0.25, ARRAY['t' || n, NULL],
    CASE WHEN n % 3 > 0 THEN tstzrange('2026-01-01'::timestamptz + n * interval '1 day', '2027-01-01', '[)') END,
    nullif(n % 4, 0)
FROM generate_series(1, 12) AS n;

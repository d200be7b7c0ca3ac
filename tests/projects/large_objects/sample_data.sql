INSERT INTO documents SELECT n, lo_from_bytea(7000 + n, convert_to(repeat('content ' || n, 3), 'UTF8'))
FROM generate_series(1, 6) AS n;

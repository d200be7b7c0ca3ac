INSERT INTO events SELECT n, '2024-12-01'::date + n * 60, 'event ' || n FROM generate_series(1, 15) AS n;

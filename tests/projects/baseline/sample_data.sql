INSERT INTO legacy SELECT n, 'fax ' || n FROM generate_series(1, 5) AS n;

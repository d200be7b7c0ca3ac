INSERT INTO accounts SELECT n, 'name ' || n FROM generate_series(1, 3) AS n;

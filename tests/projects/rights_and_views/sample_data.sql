INSERT INTO notes (id, owner, body)
SELECT n, 'owner ' || n % 3, CASE WHEN n % 4 > 0 THEN 'body ' || n END FROM generate_series(1, 12) AS n;

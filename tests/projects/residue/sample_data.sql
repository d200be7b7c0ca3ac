INSERT INTO items (id, price, name) SELECT n, n * 100, 'item ' || n FROM generate_series(1, 5) AS n;

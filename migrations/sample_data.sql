-- Real-looking rows for revision 000 and later: deterministic, any size, a few seconds for the default one.
-- SET demo.users = '1000000' and SET demo.products = '500000' beforehand for more.
SELECT setseed(0.42);

INSERT INTO users (email, full_name, country, credit_cents, settings, created_at, last_login_at)
SELECT
    lower(first_name || '.' || last_name || '.' || n || '@example.' || (ARRAY['com', 'org', 'net'])[1 + n % 3]),
    first_name || ' ' || last_name,
    (ARRAY['TW', 'US', 'DE', 'JP', 'BR', 'NG', 'IN', 'FR'])[1 + floor(random() * 8)::int],
    CASE WHEN random() < 0.2 THEN floor(random() * 20000)::bigint ELSE 0 END,
    jsonb_build_object('newsletter', random() < 0.5, 'theme', (ARRAY['light', 'dark'])[1 + n % 2]),
    created_at,
    CASE WHEN random() < 0.9 THEN created_at + random() * interval '700 days' END
FROM (
    SELECT
        n,
        (ARRAY['Ana', 'Wei', 'Otto', 'Zoë', 'José', 'Mei', 'Lars', 'Ngozi', 'Priya', 'Łukasz', '美玲', 'Fatima'])
            [1 + floor(random() * 12)::int] AS first_name,
        (ARRAY['Silva', 'Chen', 'Müller', 'Tanaka', 'O''Brien', 'Okafor', 'Kowalski', 'Nguyen', '王', 'García'])
            [1 + floor(random() * 10)::int] AS last_name,
        timestamptz '2022-01-01 00:00:00+00' + random() * interval '900 days' AS created_at
    FROM generate_series(1, COALESCE(current_setting('demo.users', true), '100000')::int) AS n
) AS person;

INSERT INTO products (sku, name, description, price_cents, stock, tags, created_at, updated_at)
SELECT
    'SKU-' || lpad(n::text, 8, '0'),
    adjective || ' ' || noun || ' ' || n,
    adjective || ' ' || lower(noun) || E' for every day.\n'
        || repeat('Made to last, packed with care. ', 1 + floor(random() * 12)::int),
    100 + floor(random() * 50000)::int,
    floor(random() * 500)::int,
    ARRAY[lower(noun), (ARRAY['new', 'sale', 'gift', 'eco'])[1 + n % 4]],
    created_at,
    created_at + random() * interval '300 days'
FROM (
    SELECT
        n,
        (ARRAY['Sturdy', 'Light', 'Compact', 'Classic', 'Quiet', 'Waterproof'])[1 + floor(random() * 6)::int]
            AS adjective,
        (ARRAY['Backpack', 'Lamp', 'Kettle', 'Chair', 'Bicycle', 'Notebook', '茶壺'])[1 + floor(random() * 7)::int]
            AS noun,
        timestamptz '2022-06-01 00:00:00+00' + random() * interval '700 days' AS created_at
    FROM generate_series(1, COALESCE(current_setting('demo.products', true), '50000')::int) AS n
) AS item;

ANALYZE users;
ANALYZE products;

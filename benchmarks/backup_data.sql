-- Mixed types as applications have them. %(scale)s rows in the base table; 100,000 are about 100 MB of heap.
CREATE TABLE users (
    id bigint PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL,
    status text,
    created_at timestamptz NOT NULL,
    token uuid NOT NULL,
    balance numeric(12, 2) NOT NULL,
    profile jsonb NOT NULL,
    tags text[] NOT NULL
);
CREATE TABLE products (
    id int PRIMARY KEY,
    title text NOT NULL,
    description text NOT NULL,
    price numeric(10, 2) NOT NULL,
    picture bytea NOT NULL
);
CREATE TABLE orders (
    id bigint PRIMARY KEY,
    user_id bigint NOT NULL,
    product_id int NOT NULL,
    quantity smallint NOT NULL,
    amount double precision NOT NULL,
    ordered_on date NOT NULL,
    paid boolean NOT NULL,
    note text
);
CREATE TABLE events (
    user_id bigint NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    payload jsonb NOT NULL
);
CREATE FUNCTION pg_temp.words(seed bigint, number int) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(
        (ARRAY['sturdy', 'blue', 'garden', 'lamp', 'with', 'wooden', 'handle', 'and', 'cover', 'for', 'every',
               'season', 'delivered', 'within', 'three', 'days', 'customer', 'returns', 'accepted', 'brass',
               'oak', 'linen', 'lockable', 'the', 'a', 'of', 'folding', 'chair', 'table', 'recycled', 'glass',
               'heavy'])[1 + (hashint8extended(seed, i) & 31)::int]
        || CASE WHEN hashint8extended(seed, i) & 224 = 0 THEN (hashint8extended(seed, i) & 65535)::text ELSE '' END,
        ' '
    )
    FROM generate_series(1, number) AS i
$$;
INSERT INTO users
SELECT i, replace(pg_temp.words(i, 2), ' ', '.') || i || '@example.org', initcap(pg_temp.words(i, 2)),
       CASE WHEN i %% 3 = 0 THEN 'active' WHEN i %% 3 = 1 THEN 'inactive' END,
       timestamptz '2020-01-01 00:00+00' + make_interval(secs => (i * 7919) %% 150000000),
       md5('t' || i)::uuid, ((i * 7919) %% 1000000) / 100.0,
       jsonb_build_object('city', pg_temp.words(i, 1), 'visits', i %% 977, 'key', md5('k' || i),
                          'about', pg_temp.words(i + 1, 12)),
       ARRAY[pg_temp.words(i, 1), pg_temp.words(-i, 1)]
FROM generate_series(1, %(scale)s::bigint) AS i;
INSERT INTO products
SELECT i, initcap(pg_temp.words(i, 4)), pg_temp.words(i, 60), ((i * 31) %% 100000) / 100.0,
       (SELECT string_agg(decode(md5(i || '-' || j), 'hex'), '') FROM generate_series(1, 24) AS j)
FROM generate_series(1, %(scale)s::bigint / 4) AS i;
INSERT INTO orders
SELECT i, 1 + (i * 7919) %% %(scale)s, 1 + (i * 104729) %% (%(scale)s / 4), 1 + i %% 9, sqrt(i),
       date '2020-01-01' + (i %% 1700)::int, i %% 10 <> 0,
       CASE WHEN i %% 4 = 0 THEN pg_temp.words(i, 6) END
FROM generate_series(1, %(scale)s::bigint * 4) AS i;
INSERT INTO events
SELECT 1 + (i * 7919) %% %(scale)s, timestamptz '2023-01-01 00:00+00' + make_interval(secs => i),
       (ARRAY['login', 'view', 'purchase', 'logout'])[1 + (i %% 4)::int],
       jsonb_build_object('session', md5((i / 20)::text), 'path', '/' || pg_temp.words(i / 3, 2), 'ms', i %% 5000)
FROM generate_series(1, %(scale)s::bigint * 3) AS i;
CREATE UNIQUE INDEX ON users (email);
CREATE INDEX ON users (created_at);
CREATE INDEX ON orders (user_id);
CREATE INDEX ON orders (ordered_on, paid);
CREATE INDEX ON events (user_id, at);
ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users, ADD FOREIGN KEY (product_id) REFERENCES products;
ANALYZE;

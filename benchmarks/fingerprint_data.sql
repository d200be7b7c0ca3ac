-- One table of mixed types, about 310 bytes a row; {rows} is the number of rows.
CREATE TABLE mixed AS
SELECT
    i AS id,
    i * 1000003 * 7919 AS big,
    md5(i::text)::uuid AS key,
    'user' || i || '@example.com' AS email,
    repeat(md5(i::text), 2) AS note,
    CASE WHEN i % 10 <> 0 THEN 'active' END AS status,
    (i * 0.37)::numeric(12, 2) AS amount,
    i / 7.0::float8 AS score,
    timestamptz '2024-01-01 00:00+00' + i * interval '1 minute' AS created_at,
    date '2024-01-01' - (i % 10000)::int AS born,
    i % 3 = 0 AS flag,
    jsonb_build_object('a', i, 'b', ARRAY[1, 2, 3]) AS settings,
    ARRAY[i, i + 1, i + 2] AS path,
    decode(md5(i::text), 'hex') AS token
FROM generate_series(1::int8, {rows}) AS i

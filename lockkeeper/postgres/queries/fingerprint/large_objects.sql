-- Each large object with the hashes of its owner, of its grants, of its length and of its content.
-- Content is hashed by page of 2048 bytes without the zeros at its end, and pages of zeros not at all: a hole
-- reads as zeros and comes back from a restore as zeros. pages is one of the two queries large_object_pages_*.
WITH page AS NOT MATERIALIZED (
    {pages}
),
pages AS (
    SELECT
        p.loid,
        max(p.pageno::int8 * 2048 + pg_catalog.octet_length(p.data)) AS length,
        sum(
            hashtextextended(
                (p.loid::text || '.' || p.pageno::text) COLLATE "C",
                hash_array_extended(ARRAY[pg_catalog.rtrim(p.data, '\x00'::bytea)], 1)
            )
        ) FILTER (WHERE pg_catalog.rtrim(p.data, '\x00'::bytea) <> '') AS content
    FROM page AS p
    GROUP BY p.loid
),
object AS (
    SELECT
        m.oid,
        pg_catalog.pg_get_userbyid(m.lomowner)::text AS owner,
        (
            SELECT pg_catalog.string_agg(a.acl::text, ' ' ORDER BY a.acl::text COLLATE "C")
            FROM pg_catalog.unnest(COALESCE(m.lomacl, pg_catalog.acldefault('L', m.lomowner))) AS a (acl)
        ) AS grants,
        COALESCE(p.length, 0) AS length,
        COALESCE(p.content, 0) AS content
    FROM pg_catalog.pg_largeobject_metadata AS m
    LEFT JOIN pages AS p ON p.loid = m.oid
)
SELECT
    o.oid,
    hashtextextended((o.oid::text || ' ' || o.owner) COLLATE "C", 1) AS owner,
    hashtextextended((o.oid::text || ' ' || COALESCE(o.grants, '')) COLLATE "C", 2) AS grants,
    hashtextextended((o.oid::text || ' ' || o.length::text) COLLATE "C", 3) AS length,
    o.content
FROM object AS o

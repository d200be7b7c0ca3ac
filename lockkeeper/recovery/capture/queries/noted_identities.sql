-- Tables that still have the full identity which a capture has given them, and what they had before.
SELECT noted.key AS table_name, noted.value AS former_identity
FROM pg_catalog.pg_publication AS p
CROSS JOIN LATERAL pg_catalog.jsonb_each_text(
    CASE
        WHEN pg_catalog.obj_description(p.oid, 'pg_publication') LIKE '{"lockkeeper"%%'
        THEN pg_catalog.obj_description(p.oid, 'pg_publication')::jsonb -> 'identities'
    END
) AS noted
JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(noted.key)
WHERE p.pubname = %s
  AND c.relreplident = 'f'
  AND noted.value <> 'FULL'

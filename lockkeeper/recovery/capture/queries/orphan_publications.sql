-- Publications of captures in this database; a quarantine's go with it.
SELECT
    'publication' AS kind,
    p.pubname AS name,
    pg_catalog.current_database() AS database,
    false AS active,
    NULL AS retained_wal_bytes,
    CASE
        WHEN pg_catalog.obj_description(p.oid, 'pg_publication') LIKE '{"lockkeeper"%'
        THEN pg_catalog.obj_description(p.oid, 'pg_publication')::jsonb ->> 'run_id'
    END AS run_id
FROM pg_catalog.pg_publication AS p
WHERE p.pubname LIKE 'lockkeeper\_%'
ORDER BY name

-- Everything of captures of this database; slots first.
SELECT
    'slot' AS kind,
    s.slot_name AS name,
    s.database,
    s.active,
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn) AS retained_wal_bytes,
    NULL AS run_id
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name LIKE 'lockkeeper\_%' AND s.database = pg_catalog.current_database()
UNION ALL
SELECT
    'publication', p.pubname, pg_catalog.current_database(), false, NULL,
    CASE
        WHEN pg_catalog.obj_description(p.oid, 'pg_publication') LIKE '{"lockkeeper"%'
        THEN pg_catalog.obj_description(p.oid, 'pg_publication')::jsonb ->> 'run_id'
    END
FROM pg_catalog.pg_publication AS p
WHERE p.pubname LIKE 'lockkeeper\_%'
UNION ALL
SELECT 'origin', o.roname, NULL, false, NULL, NULL
FROM pg_catalog.pg_replication_origin AS o
WHERE o.roname LIKE 'lockkeeper\_%'

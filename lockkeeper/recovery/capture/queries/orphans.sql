-- Slots of captures of a database or of its quarantines, then origins whose slot is gone or is one of these.
SELECT
    'slot' AS kind,
    s.slot_name AS name,
    s.database,
    s.active,
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn) AS retained_wal_bytes,
    NULL AS run_id
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name LIKE 'lockkeeper\_%%'
  AND (s.database = %(database)s OR s.database LIKE %(quarantines)s)
UNION ALL
SELECT 'origin', o.roname, NULL, false, NULL, NULL
FROM pg_catalog.pg_replication_origin AS o
WHERE o.roname LIKE 'lockkeeper\_%%'
  AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_replication_slots AS s
    WHERE s.slot_name = pg_catalog.regexp_replace(o.roname, '_[0-9]+$', '')
      AND s.database <> %(database)s
      AND s.database NOT LIKE %(quarantines)s
  )
ORDER BY kind DESC, name

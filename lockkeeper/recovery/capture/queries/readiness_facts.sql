-- What decides whether changes can be captured; the order is that of readiness.py.
SELECT
    pg_catalog.current_setting('server_version_num')::int AS version_num,
    pg_catalog.current_setting('wal_level') AS wal_level,
    r.rolreplication OR r.rolsuper OR EXISTS (
        SELECT FROM pg_catalog.pg_roles AS g
        WHERE g.rolname = 'rds_replication' AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER')
    ) AS may_replicate,
    pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may_publish,
    pg_catalog.current_setting('max_replication_slots')::int
        - (SELECT count(*) FROM pg_catalog.pg_replication_slots) AS free_slots,
    pg_catalog.current_setting('max_wal_senders')::int
        - (SELECT count(*) FROM pg_catalog.pg_stat_replication) AS free_senders,
    (SELECT s.setting::int FROM pg_catalog.pg_settings AS s WHERE s.name = 'max_slot_wal_keep_size') AS keep_size_mb,
    (
        SELECT count(*) FROM pg_catalog.pg_prepared_xacts AS p
        WHERE p.database = pg_catalog.current_database()
    ) AS prepared,
    (
        SELECT max(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - a.xact_start))
        FROM pg_catalog.pg_stat_activity AS a
        WHERE a.backend_xid IS NOT NULL
    ) AS old_writer_s,
    EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata) AS large_objects,
    pg_catalog.pg_is_in_recovery() AS is_standby,
    r.rolsuper AS may_silence_triggers,
    pg_catalog.quote_ident(r.rolname) AS role,
    pg_catalog.quote_ident(pg_catalog.current_database()) AS database
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = current_user

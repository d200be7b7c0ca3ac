-- Counters and ages of this database, and settings of the server that they are judged by.
SELECT
    s.xact_commit::bigint,
    s.xact_rollback::bigint,
    s.blks_read::bigint,
    s.blks_hit::bigint,
    s.deadlocks::bigint,
    s.temp_bytes::bigint,
    pg_catalog.age(d.datfrozenxid)::bigint,
    pg_catalog.mxid_age(d.datminmxid)::bigint,
    pg_catalog.current_setting('autovacuum_freeze_max_age')::bigint,
    pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::bigint,
    pg_catalog.current_setting('autovacuum')::bool AND pg_catalog.current_setting('track_counts')::bool,
    COALESCE((
        SELECT max(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - p.prepared))
        FROM pg_catalog.pg_prepared_xacts AS p
        WHERE p.database = d.datname
    ), 0)::float8,
    (
        SELECT COALESCE(array_agg(i.indexrelid::regclass::text ORDER BY 1), '{}')
        FROM pg_catalog.pg_index AS i
        WHERE NOT i.indisvalid
          AND NOT EXISTS (
              SELECT 1 FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid
          )
    ),
    COALESCE((SELECT a.failed_count FROM pg_catalog.pg_stat_archiver AS a), 0)::bigint,
    pg_catalog.pg_is_in_recovery(),
    pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE')
FROM pg_catalog.pg_database AS d
JOIN pg_catalog.pg_stat_database AS s ON s.datid = d.oid
WHERE d.datname = pg_catalog.current_database()

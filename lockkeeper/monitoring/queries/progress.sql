-- What PostgreSQL itself reports of long commands in this database: how much is done, of how much.
SELECT p.pid, 'create index', COALESCE(p.relid::regclass::text, ''), p.phase,
    CASE WHEN p.blocks_total > 0 THEN p.blocks_done ELSE p.tuples_done END::bigint,
    CASE WHEN p.blocks_total > 0 THEN p.blocks_total ELSE p.tuples_total END::bigint
FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.datname = pg_catalog.current_database()
UNION ALL
SELECT p.pid, 'vacuum', COALESCE(p.relid::regclass::text, ''), p.phase, p.heap_blks_scanned, p.heap_blks_total
FROM pg_catalog.pg_stat_progress_vacuum AS p WHERE p.datname = pg_catalog.current_database()
UNION ALL
SELECT p.pid, 'analyze', COALESCE(p.relid::regclass::text, ''), p.phase, p.sample_blks_scanned, p.sample_blks_total
FROM pg_catalog.pg_stat_progress_analyze AS p WHERE p.datname = pg_catalog.current_database()
UNION ALL
SELECT p.pid, lower(p.command), COALESCE(p.relid::regclass::text, ''), p.phase, p.heap_blks_scanned, p.heap_blks_total
FROM pg_catalog.pg_stat_progress_cluster AS p WHERE p.datname = pg_catalog.current_database()
UNION ALL
SELECT p.pid, lower(p.command), COALESCE(NULLIF(p.relid, 0)::regclass::text, ''), p.type,
    CASE WHEN p.bytes_total > 0 THEN p.bytes_processed ELSE p.tuples_processed END,
    p.bytes_total
FROM pg_catalog.pg_stat_progress_copy AS p WHERE p.datname = pg_catalog.current_database()
UNION ALL
SELECT p.pid, 'basebackup', '', p.phase, p.backup_streamed, COALESCE(p.backup_total, 0)
FROM pg_catalog.pg_stat_progress_basebackup AS p

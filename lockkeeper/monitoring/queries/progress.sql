-- What PostgreSQL itself reports of long commands in this database: how much of the present phase is done, of how
-- much; a total of 0 is not known. Of a command of a session that this role may not see only the pid is there.
-- Indexes are counted since PostgreSQL 17, which to_jsonb finds where they are.
SELECT c.pid, 'create index', COALESCE(c.relid::regclass::text, ''), c.phase,
    CASE
        WHEN c.phase LIKE 'waiting for %' THEN c.lockers_done
        WHEN c.blocks_total > 0 THEN c.blocks_done
        ELSE c.tuples_done
    END::bigint,
    CASE
        WHEN c.phase LIKE 'waiting for %' THEN c.lockers_total
        WHEN c.blocks_total > 0 THEN c.blocks_total
        ELSE c.tuples_total
    END::bigint
FROM pg_catalog.pg_stat_progress_create_index AS c WHERE c.datname = pg_catalog.current_database()
UNION ALL
SELECT v.pid, 'vacuum', COALESCE(v.relid::regclass::text, ''), v.phase,
    CASE
        WHEN v.phase = 'vacuuming heap' THEN v.heap_blks_vacuumed
        WHEN v.phase IN ('vacuuming indexes', 'cleaning up indexes')
            THEN COALESCE((pg_catalog.to_jsonb(v) ->> 'indexes_processed')::bigint, v.heap_blks_scanned)
        ELSE v.heap_blks_scanned
    END,
    CASE
        WHEN v.phase IN ('vacuuming indexes', 'cleaning up indexes')
            THEN COALESCE((pg_catalog.to_jsonb(v) ->> 'indexes_total')::bigint, v.heap_blks_total)
        ELSE v.heap_blks_total
    END
FROM pg_catalog.pg_stat_progress_vacuum AS v WHERE v.datname = pg_catalog.current_database()
UNION ALL
SELECT a.pid, 'analyze', COALESCE(a.relid::regclass::text, ''), a.phase, a.sample_blks_scanned, a.sample_blks_total
FROM pg_catalog.pg_stat_progress_analyze AS a WHERE a.datname = pg_catalog.current_database()
UNION ALL
SELECT r.pid, pg_catalog.lower(r.command), COALESCE(r.relid::regclass::text, ''), r.phase,
    CASE WHEN r.heap_blks_total > 0 THEN r.heap_blks_scanned ELSE r.heap_tuples_scanned END,
    CASE WHEN r.heap_blks_total > 0 THEN r.heap_blks_total ELSE GREATEST(t.reltuples, 0)::bigint END
FROM pg_catalog.pg_stat_progress_cluster AS r
LEFT JOIN pg_catalog.pg_class AS t ON t.oid = r.relid
WHERE r.datname = pg_catalog.current_database()
UNION ALL
SELECT o.pid, pg_catalog.lower(o.command), COALESCE(NULLIF(o.relid, 0)::regclass::text, ''), o.type,
    CASE WHEN o.bytes_total > 0 THEN o.bytes_processed ELSE o.tuples_processed END,
    CASE
        WHEN o.bytes_total > 0 THEN o.bytes_total
        WHEN o.command = 'COPY TO' THEN GREATEST(t.reltuples, 0)::bigint
        ELSE 0
    END
FROM pg_catalog.pg_stat_progress_copy AS o
LEFT JOIN pg_catalog.pg_class AS t ON t.oid = o.relid
WHERE o.datname = pg_catalog.current_database()
UNION ALL
SELECT b.pid, 'basebackup', '', b.phase, b.backup_streamed, COALESCE(b.backup_total, 0)
FROM pg_catalog.pg_stat_progress_basebackup AS b

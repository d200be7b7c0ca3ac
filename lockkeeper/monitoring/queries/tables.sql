-- The largest tables, and those with most dead or changed rows. Measuring a table takes ACCESS SHARE on it, so one
-- that somebody holds exclusively is not measured.
WITH known AS (
    SELECT
        s.relid,
        pg_catalog.format('%%I.%%I', s.schemaname, s.relname) AS name,
        s.n_live_tup::bigint AS live,
        s.n_dead_tup::bigint AS dead,
        s.n_mod_since_analyze::bigint AS changed,
        c.relpages::bigint AS pages,
        COALESCE((
            SELECT o.option_value::bool
            FROM pg_catalog.pg_options_to_table(c.reloptions) AS o
            WHERE o.option_name = 'autovacuum_enabled'
        ), true) AS autovacuum,
        pg_catalog.current_setting('autovacuum_vacuum_threshold')::float8
            + pg_catalog.current_setting('autovacuum_vacuum_scale_factor')::float8 * GREATEST(c.reltuples, 0)
            AS vacuum_at,
        pg_catalog.current_setting('autovacuum_analyze_threshold')::float8
            + pg_catalog.current_setting('autovacuum_analyze_scale_factor')::float8 * GREATEST(c.reltuples, 0)
            AS analyze_at
    FROM pg_catalog.pg_stat_user_tables AS s
    JOIN pg_catalog.pg_class AS c ON c.oid = s.relid
), ranked AS (
    SELECT
        known.*,
        pg_catalog.row_number() OVER (ORDER BY pages DESC, live + dead DESC) AS by_size,
        pg_catalog.row_number() OVER (ORDER BY dead DESC) AS by_dead,
        pg_catalog.row_number() OVER (ORDER BY changed DESC) AS by_changed
    FROM known
)
SELECT
    name,
    live,
    dead,
    changed,
    vacuum_at::bigint,
    analyze_at::bigint,
    autovacuum,
    CASE WHEN NOT held THEN pg_catalog.pg_table_size(relid)::bigint END,
    CASE WHEN NOT held THEN pg_catalog.pg_indexes_size(relid)::bigint END
FROM ranked
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_locks AS l
        WHERE l.relation = ranked.relid AND l.mode = 'AccessExclusiveLock'
    ) AS held
) AS lock
WHERE by_size <= %(limit)s OR by_dead <= %(limit)s OR by_changed <= %(limit)s
ORDER BY by_size

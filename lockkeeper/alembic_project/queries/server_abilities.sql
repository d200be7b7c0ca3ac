-- Whether the session may flush its statistics at each commit (15 and later), and whether rows are counted at all.
SELECT
    EXISTS (
        SELECT 1
        FROM pg_catalog.pg_proc AS p
        WHERE p.proname = 'pg_stat_force_next_flush'
          AND p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
          AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
    ),
    pg_catalog.current_setting('track_counts')::boolean

-- Sessions that hold a lock on the relation, or an old snapshot, the oldest transaction first.
SELECT
    pg_catalog.format(
        'pid %s (%s, %s, transaction open for %s s) holds %s',
        a.pid,
        coalesce(nullif(a.application_name, ''), a.backend_type),
        coalesce(a.state, 'background'),
        coalesce(round(extract(EPOCH FROM pg_catalog.clock_timestamp() - a.xact_start))::text, '?'),
        coalesce(l.modes, 'a snapshot')
    )
FROM pg_catalog.pg_stat_activity AS a
LEFT JOIN (
    SELECT k.pid, pg_catalog.string_agg(DISTINCT k.mode, ', ') AS modes
    FROM pg_catalog.pg_locks AS k
    WHERE k.granted
        AND k.relation = pg_catalog.to_regclass($relation)
        AND k.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
    GROUP BY k.pid
) AS l ON l.pid = a.pid
WHERE a.pid <> pg_catalog.pg_backend_pid()
    AND (l.pid IS NOT NULL OR (a.datname = current_database() AND a.xact_start IS NOT NULL))
ORDER BY l.pid IS NULL, a.xact_start
LIMIT $shown

SELECT pg_catalog.format('pid %s (%s, since %s)', a.pid, a.application_name, a.backend_start)
FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $lock_class AND l.objid = $id
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())

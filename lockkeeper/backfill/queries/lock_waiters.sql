SELECT count(*)
FROM pg_catalog.pg_stat_activity AS a
WHERE a.wait_event_type = 'Lock' AND pg_catalog.pg_blocking_pids(a.pid) && $pids

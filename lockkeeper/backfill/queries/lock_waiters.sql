-- Sessions that wait for one of $pids. Asked of the locks, which everybody may see: that another role's session waits,
-- pg_stat_activity tells only members of pg_read_all_stats.
SELECT count(DISTINCT l.pid)
FROM pg_catalog.pg_locks AS l
WHERE NOT l.granted AND pg_catalog.pg_blocking_pids(l.pid) && $pids

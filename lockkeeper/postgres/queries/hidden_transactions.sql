-- Sessions of this database in a transaction whose age the role may not see: without pg_read_all_stats PostgreSQL hides
-- it, and even the type, of other roles' sessions. Its virtual id is a lock, though, and everybody may see locks.
-- Background processes have no user; of receivers the lag is asked for.
SELECT a.pid, COALESCE(NULLIF(a.application_name, ''), 'unnamed'), a.usename
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datname = pg_catalog.current_database()
  AND a.backend_type IS NULL
  AND a.usesysid IS NOT NULL
  AND a.pid IN (SELECT l.pid FROM pg_catalog.pg_locks AS l WHERE l.locktype = 'virtualxid' AND l.granted)
  AND a.pid NOT IN (SELECT r.pid FROM pg_catalog.pg_stat_replication AS r)
ORDER BY a.pid

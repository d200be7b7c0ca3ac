-- The sessions of one run's migration in this database, and those of others that wait for a lock: asked many times a
-- second, so it asks the lock manager nothing.
SELECT a.pid, COALESCE(a.state, ''), COALESCE(a.application_name = ANY (%(names)s), false), a.wait_event_type = 'Lock'
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datname = pg_catalog.current_database()
  AND (a.application_name = ANY (%(names)s) OR a.wait_event_type = 'Lock')

-- The sessions of one run's migration in this database, and those of others that wait for a lock: asked many times a
-- second, so it asks the lock manager nothing and joins no names of users and databases, as pg_stat_activity does.
SELECT a.pid, COALESCE(a.state, ''), COALESCE(a.application_name = ANY (%(names)s), false), a.wait_event_type = 'Lock'
FROM pg_catalog.pg_stat_get_activity(NULL) AS a
WHERE a.datid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
  AND (a.application_name = ANY (%(names)s) OR a.wait_event_type = 'Lock')

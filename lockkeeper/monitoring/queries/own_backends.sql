-- The sessions of one run's migration in this database.
SELECT a.pid, COALESCE(a.state, '')
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datname = pg_catalog.current_database()
  AND a.application_name = ANY (%(names)s)

-- End one session, if it still does nothing inside its transaction.
SELECT pg_catalog.pg_terminate_backend(a.pid)
FROM pg_catalog.pg_stat_activity AS a
WHERE a.pid = %(pid)s
  AND a.state LIKE 'idle in transaction%%'
  AND a.state_change < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %(idle_s)s)

-- Whether a session may still hold back counts of what it committed before a moment. In a transaction it hands in
-- nothing; idle it does so after 10 seconds at the latest (PGSTAT_IDLE_INTERVAL), and at the end of its next
-- transaction. Of sessions that the role may not see into, only the lock on their virtual id tells that they are in
-- a transaction. Walsenders and autovacuum write no rows that are counted.
SELECT EXISTS (
    SELECT
    FROM pg_catalog.pg_stat_activity AS a
    WHERE a.datname = pg_catalog.current_database()
      AND a.pid <> pg_catalog.pg_backend_pid()
      AND COALESCE(a.backend_type, '') NOT IN ('walsender', 'autovacuum worker')
      AND CASE
          WHEN a.state_change IS NULL AND a.xact_start IS NULL THEN
              pg_catalog.clock_timestamp() <= %(since)s + pg_catalog.make_interval(secs => %(idle_s)s)
              OR a.pid IN (SELECT l.pid FROM pg_catalog.pg_locks AS l WHERE l.locktype = 'virtualxid' AND l.granted)
          WHEN a.xact_start IS NOT NULL OR a.state <> 'idle' THEN
              COALESCE(a.xact_start, a.state_change) <= %(since)s + pg_catalog.make_interval(secs => %(idle_s)s)
          ELSE
              a.state_change <= %(since)s + interval '1 s'
              AND a.state_change > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %(idle_s)s)
          END
)

-- Whether anybody but Lockkeeper used this server within a second. Sessions that the role may not see into count.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_stat_activity
    WHERE datid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
        AND coalesce(backend_type, 'client backend') = 'client backend'
        AND coalesce(application_name, '') NOT LIKE 'lockkeeper%'
        AND (state_change IS NULL OR state = 'active' OR state_change > clock_timestamp() - interval '1 s')
)

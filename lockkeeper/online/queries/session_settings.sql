-- Server version and the session's own bounds, in milliseconds (0: none).
SELECT
    pg_catalog.current_setting('server_version_num')::int,
    max(s.setting::bigint) FILTER (WHERE s.name = 'lock_timeout')::int,
    max(s.setting::bigint) FILTER (WHERE s.name = 'statement_timeout')::int
FROM pg_catalog.pg_settings AS s
WHERE s.name IN ('lock_timeout', 'statement_timeout')

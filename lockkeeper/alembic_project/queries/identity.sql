-- Which database a session is in. The start time of the server tells a copy (same system identifier, same names, same OIDs)
-- from the original, and needs no privilege. No parameters and no percent sign: every driver must take the text as it is.
SELECT
    pg_catalog.current_database()::text,
    (SELECT d.oid::text FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()),
    EXTRACT(EPOCH FROM pg_catalog.pg_postmaster_start_time())::text,
    COALESCE(pg_catalog.host(pg_catalog.inet_server_addr()), 'local socket'),
    COALESCE(pg_catalog.inet_server_port()::text, '')

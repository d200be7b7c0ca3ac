-- What a physical backup of the server is made of; pg_database_size needs CONNECT on each database.
SELECT
    pg_catalog.current_setting('server_version_num')::int,
    (SELECT pg_catalog.sum(pg_catalog.pg_database_size(d.oid))
     FROM pg_catalog.pg_database AS d
     WHERE pg_catalog.has_database_privilege(d.oid, 'CONNECT'))::bigint,
    (SELECT pg_catalog.count(*)
     FROM pg_catalog.pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global'))::int,
    pg_catalog.current_setting('wal_level'),
    (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
    pg_catalog.current_setting('max_wal_senders')::int,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication)::int,
    pg_catalog.current_setting('max_replication_slots')::int,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots)::int

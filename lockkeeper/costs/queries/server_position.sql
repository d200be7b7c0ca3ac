-- How much has been written so far, by the server (WAL) and to this database (size, temporary files).
SELECT
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::bigint,
    pg_catalog.pg_database_size(pg_catalog.current_database()),
    (SELECT d.temp_bytes FROM pg_catalog.pg_stat_database AS d WHERE d.datname = pg_catalog.current_database())

-- What preflight wants to know of the server and the database, in one row.
SELECT
    pg_catalog.current_setting('server_version_num')::int AS version_num,
    pg_catalog.pg_is_in_recovery() AS is_standby,
    pg_catalog.current_setting('default_transaction_read_only')::bool AS read_only,
    pg_catalog.pg_has_role(d.datdba, 'USAGE') AS owns_database,
    r.rolsuper OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE') AS may_end_sessions,
    pg_catalog.quote_ident(r.rolname) AS role,
    pg_catalog.quote_ident(d.datname) AS database,
    pg_catalog.pg_database_size(d.oid) AS size_bytes,
    (SELECT count(*) FROM pg_catalog.pg_prepared_xacts AS p WHERE p.database = d.datname) AS prepared
FROM pg_catalog.pg_database AS d
CROSS JOIN pg_catalog.pg_roles AS r
WHERE d.datname = pg_catalog.current_database()
  AND r.rolname = current_user

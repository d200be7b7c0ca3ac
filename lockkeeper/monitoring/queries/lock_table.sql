-- How full the table of locks is: full, every statement of every session fails.
SELECT
    (SELECT count(*) FROM pg_catalog.pg_locks)::bigint,
    (pg_catalog.current_setting('max_locks_per_transaction')::bigint
        * (pg_catalog.current_setting('max_connections')::bigint
            + pg_catalog.current_setting('max_prepared_transactions')::bigint))::bigint

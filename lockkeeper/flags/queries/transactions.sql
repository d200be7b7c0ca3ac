SELECT xact_commit, xact_rollback FROM pg_catalog.pg_stat_database WHERE datname = pg_catalog.current_database()

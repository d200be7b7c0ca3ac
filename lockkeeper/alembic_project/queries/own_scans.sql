-- Rows that this session has read by sequential scans and not yet reported. No parameters and no percent sign.
SELECT
    pg_catalog.quote_ident(schemaname) || '.' || pg_catalog.quote_ident(relname),
    seq_tup_read
FROM pg_catalog.pg_stat_xact_user_tables
WHERE seq_tup_read > 0

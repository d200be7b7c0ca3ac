-- Rows that this session has read by sequential scans, and updated or deleted, and not yet reported. No parameters and
-- no percent sign.
SELECT
    pg_catalog.quote_ident(schemaname) || '.' || pg_catalog.quote_ident(relname),
    seq_tup_read,
    n_tup_upd + n_tup_del
FROM pg_catalog.pg_stat_xact_user_tables
WHERE seq_tup_read > 0 OR n_tup_upd + n_tup_del > 0

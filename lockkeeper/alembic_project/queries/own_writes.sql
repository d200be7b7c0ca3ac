-- Rows that this session wrote and has not yet reported to the cumulative statistics; temporary tables
-- are nobody else's. No parameters and no percent sign.
SELECT
    pg_catalog.quote_ident(schemaname) || '.' || pg_catalog.quote_ident(relname),
    n_tup_ins,
    n_tup_upd,
    n_tup_del
FROM pg_catalog.pg_stat_xact_user_tables
WHERE n_tup_ins + n_tup_upd + n_tup_del > 0
  AND schemaname !~ '^pg_temp_'

-- Triggers that fire in a replica; noted first, so that a kill in between forgets none.
WITH acting AS (
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS table_name, t.tgname AS trigger_name, t.tgenabled
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R')
),
noted AS (
    INSERT INTO lockkeeper_replay.silenced_trigger (table_name, trigger_name, enabled)
    SELECT a.table_name, a.trigger_name, a.tgenabled FROM acting AS a
    ON CONFLICT DO NOTHING
)
SELECT a.table_name, a.trigger_name FROM acting AS a

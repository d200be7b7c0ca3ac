-- Rows written since the counters began, per table that holds rows, and which table and file that is.
-- pg_largeobject is the one system table whose rows are the user's.
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname),
       c.oid::bigint,
       pg_catalog.pg_relation_filenode(c.oid)::bigint,
       pg_catalog.pg_stat_get_tuples_inserted(c.oid),
       pg_catalog.pg_stat_get_tuples_updated(c.oid),
       pg_catalog.pg_stat_get_tuples_deleted(c.oid)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE (c.relkind = 'r' AND n.nspname NOT LIKE 'pg\_%%' AND n.nspname <> 'information_schema')
   OR c.oid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass

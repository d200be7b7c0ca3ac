-- Every database with its comment: Lockkeeper's notes are JSON in it.
SELECT d.datname,
       d.datallowconn,
       pg_catalog.shobj_description(d.oid, 'pg_database'),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity AS a WHERE a.datid = d.oid)
FROM pg_catalog.pg_database AS d
WHERE NOT d.datistemplate
ORDER BY d.datname

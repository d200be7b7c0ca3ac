SELECT
    pg_catalog.format('%I.%I', n.nspname, c.relname),
    CASE WHEN c.reloptions IS NOT NULL THEN
        pg_catalog.format(' WITH (%s)', pg_catalog.array_to_string(c.reloptions, ', ')) ELSE '' END,
    pg_catalog.pg_get_viewdef(c.oid)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($oids::oid[])
ORDER BY c.oid

-- Whatever has the name in the table's schema; the definition without the names of index and table.
SELECT
    i.oid::bigint,
    coalesce(x.indisvalid, false),
    coalesce(x.indrelid = t.oid, false),
    CASE
        WHEN x.indexrelid IS NULL THEN 'not an index'
        ELSE CASE WHEN x.indisunique THEN 'UNIQUE ' ELSE '' END || substr(
            pg_catalog.pg_get_indexdef(i.oid),
            length(
                pg_catalog.format(
                    'CREATE %sINDEX %I ON %s%I.%I ',
                    CASE WHEN x.indisunique THEN 'UNIQUE ' ELSE '' END,
                    i.relname,
                    CASE WHEN i.relkind = 'I' THEN 'ONLY ' ELSE '' END,
                    CASE WHEN n.oid = pg_catalog.pg_my_temp_schema() THEN 'pg_temp' ELSE n.nspname END,
                    b.relname
                )
            ) + 1
        )
    END,
    p.pid,
    h.inhparent::bigint
FROM pg_catalog.pg_class AS t
JOIN pg_catalog.pg_class AS i ON i.relnamespace = t.relnamespace AND i.relname = $name
LEFT JOIN pg_catalog.pg_index AS x ON x.indexrelid = i.oid
LEFT JOIN pg_catalog.pg_class AS b ON b.oid = x.indrelid
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = b.relnamespace
LEFT JOIN pg_catalog.pg_inherits AS h ON h.inhrelid = i.oid
LEFT JOIN pg_catalog.pg_stat_progress_create_index AS p
    ON p.index_relid = i.oid AND p.datname = current_database() AND p.pid <> pg_catalog.pg_backend_pid()
WHERE t.oid = $table

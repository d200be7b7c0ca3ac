SELECT
    k.number, k.schema_name, k.table_name, c.oid::bigint, greatest(c.reltuples, 0)::bigint,
    greatest(c.relpages, 1), k.file_node, k.by_pages, k.after, k.upto, k.done
FROM lockkeeper.backfill_chunk AS k
JOIN pg_catalog.pg_namespace AS n ON n.nspname = k.schema_name
JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = k.table_name
WHERE k.change_id = $change_id
ORDER BY k.number

-- Whether this transaction changed a relation of the user's besides the version table that it has made.
SELECT c.xmin <> pg_catalog.pg_current_xact_id_if_assigned()::xid OR EXISTS (
    SELECT
    FROM pg_catalog.pg_locks AS l
    LEFT JOIN pg_catalog.pg_class AS r ON r.oid = l.relation
    LEFT JOIN pg_catalog.pg_index AS x ON x.indexrelid = l.relation
    WHERE l.pid = pg_catalog.pg_backend_pid()
        AND l.locktype = 'relation'
        AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
        AND l.relation >= 16384
        AND l.relation <> c.oid
        AND x.indrelid IS DISTINCT FROM c.oid
        AND l.relation <> c.reltoastrelid
)
FROM pg_catalog.pg_class AS c
WHERE c.oid = pg_catalog.to_regclass($version_table)

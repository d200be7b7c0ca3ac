-- Indexes, valid or not. The index of a constraint belongs to the constraint, which comes and goes with it.
SELECT
    'index' AS kind,
    format('%I.%I', n.nspname, x.relname) AS identity,
    COALESCE(
        (
            SELECT format('constraint %I on %I.%I', o.conname, n.nspname, c.relname)
            FROM pg_constraint AS o
            WHERE o.conindid = x.oid AND o.conrelid = c.oid AND o.contype IN ('p', 'u', 'x')
        ),
        CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table '
        ELSE 'table ' END || format('%I.%I', n.nspname, c.relname)
    ) AS of,
    jsonb_build_object(
        'definition', pg_get_indexdef(x.oid),
        'valid', i.indisvalid AND i.indisready AND i.indislive,
        'clustered', i.indisclustered,
        'attached to', (SELECT h.inhparent::regclass::text FROM pg_inherits AS h WHERE h.inhrelid = x.oid)
    ) AS properties
FROM pg_index AS i
JOIN pg_class AS x ON x.oid = i.indexrelid
JOIN pg_class AS c ON c.oid = i.indrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
  )

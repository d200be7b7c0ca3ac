-- Constraints of tables and domains. Not: NOT NULL (a property of the column; a constraint from 18 only),
-- constraint triggers, and the copies of a foreign key that PostgreSQL keeps for partitions.
SELECT
    'constraint' AS kind,
    format(
        '%I on %s', o.conname,
        CASE WHEN c.oid IS NULL THEN o.contypid::regtype::text ELSE format('%I.%I', n.nspname, c.relname) END
    ) AS identity,
    CASE
        WHEN c.oid IS NULL THEN 'type ' || o.contypid::regtype
        ELSE CASE c.relkind WHEN 'f' THEN 'foreign table ' ELSE 'table ' END
            || format('%I.%I', n.nspname, c.relname)
    END AS of,
    jsonb_build_object(
        'definition', regexp_replace(pg_get_constraintdef(o.oid), ' NOT VALID$', ''),
        'validated', o.convalidated,
        'origin', CASE WHEN o.conislocal OR c.relispartition THEN 'own' ELSE 'inherited' END,
        'triggers disabled', (
            SELECT count(*)
            FROM pg_trigger AS t
            WHERE t.tgconstraint = o.oid AND t.tgisinternal AND t.tgenabled <> 'O'
        )
    ) AS properties
FROM pg_constraint AS o
JOIN pg_namespace AS s ON s.oid = o.connamespace
LEFT JOIN pg_class AS c ON c.oid = o.conrelid
LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE o.contype IN ('c', 'p', 'u', 'f', 'x')
  AND NOT (o.contype = 'f' AND o.conparentid <> 0)
  AND s.nspname !~ '^pg_' AND s.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.deptype = 'e'
        AND (
            (e.classid = 'pg_class'::regclass AND e.objid = o.conrelid)
            OR (e.classid = 'pg_type'::regclass AND e.objid = o.contypid)
        )
  )

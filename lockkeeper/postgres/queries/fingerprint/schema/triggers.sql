-- Triggers that somebody made. A partition's copy counts only when it is enabled otherwise than its parent's
-- (up to PostgreSQL 14 copies are marked as internal, so this keeps versions comparable).
SELECT
    'trigger' AS kind,
    format('%I on %I.%I', t.tgname, n.nspname, c.relname) AS identity,
    CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table '
        ELSE 'table ' END || format('%I.%I', n.nspname, c.relname) AS of,
    jsonb_build_object(
        'definition', pg_get_triggerdef(t.oid),
        'state', CASE t.tgenabled
            WHEN 'O' THEN 'enabled' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'enabled on replicas only'
            ELSE 'enabled always' END
    ) AS properties
FROM pg_trigger AS t
JOIN pg_class AS c ON c.oid = t.tgrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_trigger AS p ON p.oid = t.tgparentid
WHERE (NOT t.tgisinternal OR (p.oid IS NOT NULL AND NOT p.tgisinternal))
  AND p.tgenabled IS DISTINCT FROM t.tgenabled
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
  )

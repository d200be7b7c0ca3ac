-- Rewrite rules other than those that make views.
SELECT
    'rule' AS kind,
    format('%I on %I.%I', r.rulename, n.nspname, c.relname) AS identity,
    CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table '
        ELSE 'table ' END || format('%I.%I', n.nspname, c.relname) AS of,
    jsonb_build_object(
        'definition', pg_get_ruledef(r.oid),
        'state', CASE r.ev_enabled
            WHEN 'O' THEN 'enabled' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'enabled on replicas only'
            ELSE 'enabled always' END
    ) AS properties
FROM pg_rewrite AS r
JOIN pg_class AS c ON c.oid = r.ev_class
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE r.rulename <> '_RETURN'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
  )

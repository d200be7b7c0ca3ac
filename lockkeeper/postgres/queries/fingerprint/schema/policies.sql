-- Row level security policies.
SELECT
    'policy' AS kind,
    format('%I on %I.%I', p.polname, n.nspname, c.relname) AS identity,
    CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table '
        ELSE 'table ' END || format('%I.%I', n.nspname, c.relname) AS of,
    jsonb_build_object(
        'command', CASE p.polcmd
            WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update' WHEN 'd' THEN 'delete'
            ELSE 'all' END,
        'permissive', p.polpermissive,
        'roles', (
            SELECT jsonb_agg(x.name ORDER BY x.name)
            FROM (
                SELECT CASE r.oid WHEN 0 THEN 'public' ELSE pg_get_userbyid(r.oid)::text END COLLATE "C" AS name
                FROM unnest(p.polroles) AS r (oid)
            ) AS x
        ),
        'using', pg_get_expr(p.polqual, p.polrelid),
        'with check', pg_get_expr(p.polwithcheck, p.polrelid)
    ) AS properties
FROM pg_policy AS p
JOIN pg_class AS c ON c.oid = p.polrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
  )

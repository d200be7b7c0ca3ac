-- Views and materialized views.
SELECT
    CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END AS kind,
    format('%I.%I', n.nspname, c.relname) AS identity,
    'schema ' || quote_ident(n.nspname) AS of,
    jsonb_build_object(
        'owner', pg_get_userbyid(c.relowner),
        'definition', pg_get_viewdef(c.oid),
        'options', (SELECT jsonb_agg(o.o ORDER BY o.o) FROM unnest(c.reloptions) AS o (o)),
        'populated', c.relispopulated
    ) AS properties
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
  )

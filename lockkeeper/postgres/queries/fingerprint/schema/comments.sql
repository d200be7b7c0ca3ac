-- Comments on everything of this database that is not PostgreSQL's own or an extension's.
SELECT
    'comment' AS kind,
    x.kind || ' ' || o.identity AS identity,
    x.kind || ' ' || o.identity AS of,
    jsonb_build_object('text', d.description) AS properties
FROM pg_description AS d
CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS o
CROSS JOIN LATERAL (
    SELECT regexp_replace(
        regexp_replace(o.type, '^.* (column|constraint)$', '\1'), '^composite type$', 'type'
    ) AS kind
) AS x
WHERE (d.objoid >= 16384 OR (d.classoid = 'pg_namespace'::regclass AND d.objoid = 'public'::regnamespace))
  AND COALESCE(o.schema, '') !~ '^pg_'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = d.classoid AND e.objid = d.objoid AND e.deptype = 'e'
  )

-- Schemas and their owners.
SELECT
    'schema' AS kind,
    quote_ident(n.nspname) AS identity,
    NULL AS of,
    jsonb_build_object('owner', pg_get_userbyid(n.nspowner)) AS properties
FROM pg_namespace AS n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_namespace'::regclass AND e.objid = n.oid AND e.deptype = 'e'
  )

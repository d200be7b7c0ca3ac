-- Extended statistics objects.
SELECT
    'statistics object' AS kind,
    format('%I.%I', n.nspname, s.stxname) AS identity,
    'table ' || s.stxrelid::regclass AS of,
    jsonb_build_object(
        'owner', pg_get_userbyid(s.stxowner),
        'definition', pg_get_statisticsobjdef(s.oid),
        'target', NULLIF(s.stxstattarget, -1)
    ) AS properties
FROM pg_statistic_ext AS s
JOIN pg_namespace AS n ON n.oid = s.stxnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_statistic_ext'::regclass AND e.objid = s.oid AND e.deptype = 'e'
  )

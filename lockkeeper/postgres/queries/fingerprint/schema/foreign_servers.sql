-- Foreign-data wrappers, servers and who has a user mapping. Option values that look like secrets stay here.
SELECT
    'foreign-data wrapper' AS kind,
    quote_ident(w.fdwname) AS identity,
    NULL AS of,
    jsonb_build_object(
        'owner', pg_get_userbyid(w.fdwowner),
        'handler', NULLIF(w.fdwhandler, 0)::regproc::text,
        'validator', NULLIF(w.fdwvalidator, 0)::regproc::text
    ) AS properties
FROM pg_foreign_data_wrapper AS w
WHERE NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_foreign_data_wrapper'::regclass AND e.objid = w.oid AND e.deptype = 'e'
  )
UNION ALL
SELECT
    'server',
    quote_ident(s.srvname),
    NULL,
    jsonb_build_object(
        'owner', pg_get_userbyid(s.srvowner),
        'wrapper', quote_ident(w.fdwname),
        'type', s.srvtype,
        'version', s.srvversion,
        'options', (
            SELECT jsonb_agg(
                regexp_replace(o.o, '^([^=]*(pass|secret|token|key)[^=]*=).*$', '\1(hidden)', 'i') ORDER BY o.o
            )
            FROM unnest(s.srvoptions) AS o (o)
        ),
        'user mappings', (
            SELECT jsonb_agg(u.usename ORDER BY u.usename) FROM pg_user_mappings AS u WHERE u.srvid = s.oid
        )
    )
FROM pg_foreign_server AS s
JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw
WHERE NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_foreign_server'::regclass AND e.objid = s.oid AND e.deptype = 'e'
  )

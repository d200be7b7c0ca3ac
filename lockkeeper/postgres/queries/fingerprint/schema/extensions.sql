-- Extensions; what they own is theirs.
SELECT
    'extension' AS kind,
    quote_ident(e.extname) AS identity,
    NULL AS of,
    jsonb_build_object('version', e.extversion, 'schema', quote_ident(n.nspname)) AS properties
FROM pg_extension AS e
JOIN pg_namespace AS n ON n.oid = e.extnamespace

-- Functions, procedures and aggregates; identity has the types of the arguments, as overloads need. Not: those
-- that come with a range type.
SELECT
    CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind,
    p.oid::regprocedure::text AS identity,
    'schema ' || quote_ident(n.nspname) AS of,
    jsonb_build_object(
        'owner', pg_get_userbyid(p.proowner),
        'arguments', pg_get_function_arguments(p.oid),
        'result', pg_get_function_result(p.oid),
        'language', l.lanname,
        'body', COALESCE(pg_get_function_sqlbody(p.oid), p.prosrc),
        'library', p.probin,
        'volatility', CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
        'strict', p.proisstrict,
        'security definer', p.prosecdef,
        'leakproof', p.proleakproof,
        'window', p.prokind = 'w',
        'parallel', CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END,
        'cost', p.procost,
        'rows', p.prorows,
        'support', NULLIF(p.prosupport::text, '-'),
        'settings', (SELECT jsonb_agg(o.o ORDER BY o.o) FROM unnest(p.proconfig) AS o (o)),
        'aggregate', CASE WHEN g.aggfnoid IS NOT NULL THEN jsonb_build_object(
            'kind', g.aggkind, 'direct arguments', g.aggnumdirectargs, 'initial', g.agginitval,
            'moving initial', g.aggminitval, 'state', format_type(g.aggtranstype, NULL),
            'moving state', format_type(NULLIF(g.aggmtranstype, 0), NULL), 'transition', g.aggtransfn::text,
            'final', g.aggfinalfn::text, 'final extra', g.aggfinalextra, 'final modify', g.aggfinalmodify,
            'combine', g.aggcombinefn::text, 'serial', g.aggserialfn::text, 'deserial', g.aggdeserialfn::text,
            'moving', g.aggmtransfn::text, 'moving inverse', g.aggminvtransfn::text,
            'moving final', g.aggmfinalfn::text, 'sort operator', NULLIF(g.aggsortop, 0)::regoperator::text
        ) END
    ) AS properties
FROM pg_proc AS p
JOIN pg_namespace AS n ON n.oid = p.pronamespace
JOIN pg_language AS l ON l.oid = p.prolang
LEFT JOIN pg_aggregate AS g ON g.aggfnoid = p.oid
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype IN ('e', 'i')
  )

-- Event triggers.
SELECT
    'event trigger' AS kind,
    quote_ident(t.evtname) AS identity,
    NULL AS of,
    jsonb_build_object(
        'owner', pg_get_userbyid(t.evtowner),
        'event', t.evtevent,
        'function', t.evtfoid::regprocedure::text,
        'tags', (SELECT jsonb_agg(g.g ORDER BY g.g) FROM unnest(t.evttags) AS g (g)),
        'state', CASE t.evtenabled
            WHEN 'O' THEN 'enabled' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'enabled on replicas only'
            ELSE 'enabled always' END
    ) AS properties
FROM pg_event_trigger AS t
WHERE NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_event_trigger'::regclass AND e.objid = t.oid AND e.deptype = 'e'
  )

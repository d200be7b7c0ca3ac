-- Sequences: parameters and ownership (their values are data).
SELECT
    'sequence' AS kind,
    format('%I.%I', n.nspname, c.relname) AS identity,
    COALESCE('table ' || o.refobjid::regclass, 'schema ' || quote_ident(n.nspname)) AS of,
    jsonb_build_object(
        'owner', pg_get_userbyid(c.relowner),
        'persistence', CASE c.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END,
        'type', format_type(s.seqtypid, NULL),
        'start', s.seqstart,
        'increment', s.seqincrement,
        'minimum', s.seqmin,
        'maximum', s.seqmax,
        'cache', s.seqcache,
        'cycle', s.seqcycle,
        'owned by', o.refobjid::regclass || '.' || quote_ident(a.attname)
    ) AS properties
FROM pg_sequence AS s
JOIN pg_class AS c ON c.oid = s.seqrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_depend AS o
    ON o.classid = 'pg_class'::regclass AND o.objid = c.oid AND o.objsubid = 0
    AND o.refclassid = 'pg_class'::regclass AND o.refobjsubid > 0 AND o.deptype IN ('a', 'i')
LEFT JOIN pg_attribute AS a ON a.attrelid = o.refobjid AND a.attnum = o.refobjsubid
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
  )

-- What users rarely make: operators, their classes and families, casts, collations, conversions, text search,
-- languages, access methods.
WITH object (classid, oid, properties) AS (
    SELECT 'pg_operator'::regclass, o.oid, jsonb_build_object(
        'function', o.oprcode::text, 'commutator', NULLIF(o.oprcom, 0)::regoperator::text,
        'negator', NULLIF(o.oprnegate, 0)::regoperator::text, 'hashes', o.oprcanhash, 'merges', o.oprcanmerge
    )
    FROM pg_operator AS o
    UNION ALL
    SELECT 'pg_opclass'::regclass, o.oid, jsonb_build_object(
        'type', format_type(o.opcintype, NULL), 'default', o.opcdefault
    )
    FROM pg_opclass AS o
    UNION ALL
    SELECT 'pg_opfamily'::regclass, o.oid, jsonb_build_object(
        'operators', (
            SELECT jsonb_agg(x.text ORDER BY x.text)
            FROM pg_amop AS a
            CROSS JOIN LATERAL (SELECT a.amopstrategy || ' ' || a.amopopr::regoperator AS text) AS x
            WHERE a.amopfamily = o.oid
        ),
        'functions', (
            SELECT jsonb_agg(x.text ORDER BY x.text)
            FROM pg_amproc AS a
            CROSS JOIN LATERAL (SELECT a.amprocnum || ' ' || a.amproc::regprocedure AS text) AS x
            WHERE a.amprocfamily = o.oid
        )
    )
    FROM pg_opfamily AS o
    WHERE o.oid >= 16384
    UNION ALL
    SELECT 'pg_cast'::regclass, c.oid, jsonb_build_object(
        'function', NULLIF(c.castfunc, 0)::regprocedure::text, 'context', c.castcontext, 'method', c.castmethod
    )
    FROM pg_cast AS c
    UNION ALL
    SELECT 'pg_collation'::regclass, c.oid, jsonb_build_object(
        'provider', c.collprovider, 'deterministic', c.collisdeterministic, 'ctype', c.collctype,
        'locale', COALESCE(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collcollate),
        'rules', to_jsonb(c) ->> 'collicurules'
    )
    FROM pg_collation AS c
    UNION ALL
    SELECT 'pg_conversion'::regclass, c.oid, jsonb_build_object(
        'function', c.conproc::text, 'default', c.condefault
    )
    FROM pg_conversion AS c
    UNION ALL
    SELECT 'pg_ts_config'::regclass, c.oid, jsonb_build_object('mappings', (
        SELECT jsonb_agg(m.maptokentype || ' ' || m.mapseqno || ' ' || m.mapdict::regdictionary
            ORDER BY m.maptokentype, m.mapseqno)
        FROM pg_ts_config_map AS m WHERE m.mapcfg = c.oid
    ))
    FROM pg_ts_config AS c
    WHERE c.oid >= 16384
    UNION ALL
    SELECT 'pg_ts_dict'::regclass, d.oid, jsonb_build_object('options', d.dictinitoption)
    FROM pg_ts_dict AS d
    UNION ALL
    SELECT 'pg_language'::regclass, l.oid, jsonb_build_object(
        'owner', pg_get_userbyid(l.lanowner), 'trusted', l.lanpltrusted,
        'handler', l.lanplcallfoid::regproc::text
    )
    FROM pg_language AS l
    UNION ALL
    SELECT 'pg_am'::regclass, m.oid, jsonb_build_object('handler', m.amhandler::text)
    FROM pg_am AS m
)
SELECT i.type AS kind, i.identity, 'schema ' || i.schema AS of, o.properties
FROM object AS o
CROSS JOIN LATERAL pg_identify_object(o.classid, o.oid, 0) AS i
WHERE o.oid >= 16384
  AND COALESCE(i.schema, '') !~ '^pg_' AND COALESCE(i.schema, '') <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = o.classid AND e.objid = o.oid AND e.deptype IN ('e', 'i')
  )

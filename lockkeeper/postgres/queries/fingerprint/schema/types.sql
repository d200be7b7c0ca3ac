-- Enums (labels in order), domains, composite types (attributes in order), ranges and base types. Not: the row
-- types of tables, arrays, and multiranges, which belong to something else.
SELECT
    'type' AS kind,
    format('%I.%I', n.nspname, t.typname) AS identity,
    'schema ' || quote_ident(n.nspname) AS of,
    jsonb_build_object(
        'owner', pg_get_userbyid(t.typowner),
        'kind', CASE t.typtype
            WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite' WHEN 'r' THEN 'range'
            ELSE 'base' END,
        'labels', (
            SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid
        ),
        'base type', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
        'not null', t.typnotnull,
        'default', CASE WHEN t.typtype = 'd' THEN t.typdefault END,
        'collation', CASE WHEN t.typtype = 'd' THEN NULLIF(t.typcollation, 0)::regcollation::text END,
        'attributes', (
            SELECT jsonb_agg(
                quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
                || COALESCE(' COLLATE ' || NULLIF(a.attcollation, y.typcollation)::regcollation, '')
                ORDER BY a.attnum
            )
            FROM pg_attribute AS a
            JOIN pg_type AS y ON y.oid = a.atttypid
            WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        ),
        'range', (
            SELECT jsonb_build_object(
                'subtype', format_type(r.rngsubtype, NULL), 'multirange', format_type(r.rngmultitypid, NULL),
                'collation', NULLIF(r.rngcollation, 0)::regcollation::text,
                'canonical', r.rngcanonical::text, 'difference', r.rngsubdiff::text
            )
            FROM pg_range AS r
            WHERE r.rngtypid = t.oid
        ),
        'base', CASE WHEN t.typtype = 'b' THEN jsonb_build_object(
            'input', t.typinput::text, 'output', t.typoutput::text, 'length', t.typlen, 'by value', t.typbyval,
            'alignment', t.typalign, 'storage', t.typstorage, 'element', format_type(NULLIF(t.typelem, 0), NULL)
        ) END
    ) AS properties
FROM pg_type AS t
JOIN pg_namespace AS n ON n.oid = t.typnamespace
LEFT JOIN pg_class AS c ON c.oid = t.typrelid
WHERE t.typtype IN ('e', 'd', 'c', 'r', 'b')
  AND (t.typrelid = 0 OR c.relkind = 'c')
  AND NOT EXISTS (SELECT FROM pg_type AS e WHERE e.typarray = t.oid)
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid AND e.deptype = 'e'
  )

-- Columns of tables and views. The position counts live columns only: dropped ones leave gaps in attnum.
SELECT
    'column' AS kind,
    format('%I.%I.%I', n.nspname, c.relname, a.attname) AS identity,
    CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table '
        ELSE 'table ' END || format('%I.%I', n.nspname, c.relname) AS of,
    jsonb_build_object(
        'type', format_type(a.atttypid, a.atttypmod),
        'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
        'not null', CASE
            WHEN NOT a.attnotnull THEN 'no'
            WHEN EXISTS (
                SELECT FROM pg_constraint AS o
                WHERE o.conrelid = c.oid
                  AND o.contype = 'n'
                  AND o.conkey = ARRAY[a.attnum] AND NOT o.convalidated
            ) THEN 'not validated'
            ELSE 'yes' END,
        'not null for children', CASE
            WHEN EXISTS (
                SELECT FROM pg_constraint AS o
                WHERE o.conrelid = c.oid
                  AND o.contype = 'n'
                  AND o.conkey = ARRAY[a.attnum] AND o.connoinherit
            ) THEN 'no'
            ELSE 'yes' END,
        'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
        'generated', CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END,
        'generation expression', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END,
        'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
        'storage', CASE a.attstorage
            WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' ELSE 'extended' END,
        'compression', CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
        -- No target is -1 up to PostgreSQL 16 and NULL from 17.
        'statistics target', NULLIF(a.attstattarget, -1),
        'options', (SELECT jsonb_agg(o.o ORDER BY o.o) FROM unnest(a.attoptions) AS o (o)),
        'foreign options', (SELECT jsonb_agg(o.o ORDER BY o.o) FROM unnest(a.attfdwoptions) AS o (o)),
        -- A partition's columns are never its own, whoever made them.
        'origin', CASE WHEN a.attislocal OR c.relispartition THEN 'own' ELSE 'inherited' END,
        'position', row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum)
    ) AS properties
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0
  AND NOT a.attisdropped
  AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
  )

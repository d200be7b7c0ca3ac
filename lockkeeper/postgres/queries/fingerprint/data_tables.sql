-- What holds rows of this database: tables, partitions that are leaves, populated materialized views.
-- Not: partitioned tables (their rows are in the leaves), foreign tables (their rows are elsewhere), tables of
-- extensions except those that the extension declares as user data.
WITH RECURSIVE base_type (oid, base) AS (
    SELECT t.oid, t.oid
    FROM pg_catalog.pg_type AS t
    WHERE t.typtype <> 'd'
    UNION ALL
    SELECT d.oid, b.base
    FROM pg_catalog.pg_type AS d
    JOIN base_type AS b ON b.oid = d.typbasetype
    WHERE d.typtype = 'd'
),
column_list AS (
    SELECT
        a.attrelid,
        pg_catalog.jsonb_agg(
            pg_catalog.jsonb_build_object(
                'name', a.attname,
                'quoted', pg_catalog.quote_ident(a.attname),
                'builtin', CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace
                    THEN t.typname END,
                'domain_base', CASE WHEN d.base <> a.atttypid THEN pg_catalog.format_type(d.base, -1) END,
                'output', pg_catalog.format('%I.%I', n.nspname, p.proname)
            )
            ORDER BY a.attnum
        ) AS columns
    FROM pg_catalog.pg_attribute AS a
    JOIN base_type AS d ON d.oid = a.atttypid
    JOIN pg_catalog.pg_type AS t ON t.oid = d.base
    JOIN pg_catalog.pg_proc AS p ON p.oid = t.typoutput
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE a.attnum > 0 AND NOT a.attisdropped
    GROUP BY a.attrelid
)
SELECT
    pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
    CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'table' END AS kind,
    pg_catalog.pg_table_size(c.oid) AS size_bytes,
    CASE WHEN m.amname = 'heap'
        THEN pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8
        ELSE 1 END AS blocks,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE')
        AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable,
    COALESCE(l.columns, '[]') AS columns
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
LEFT JOIN column_list AS l ON l.attrelid = c.oid
WHERE c.relkind IN ('r', 'm')
  AND c.relispopulated
  AND n.nspname !~ '^pg_(catalog|toast|temp_|toast_temp_)'
  AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT
      FROM pg_catalog.pg_depend AS d
      JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
      WHERE d.classid = 'pg_catalog.pg_class'::regclass
        AND d.objid = c.oid
        AND d.deptype = 'e'
        AND NOT c.oid = ANY (COALESCE(e.extconfig, '{}'))
  )
ORDER BY size_bytes DESC, name

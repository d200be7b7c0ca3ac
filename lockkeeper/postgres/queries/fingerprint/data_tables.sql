-- What holds rows of this database: tables, partitions that are leaves, populated materialized views.
-- Not: partitioned tables (their rows are in the leaves), foreign tables (their rows are elsewhere), tables of
-- extensions except those that the extension declares as user data.
WITH RECURSIVE base_type (oid, base) AS (
    SELECT d.oid, d.typbasetype
    FROM pg_catalog.pg_type AS d
    WHERE d.typtype = 'd'
    UNION ALL
    SELECT b.oid, d.typbasetype
    FROM base_type AS b
    JOIN pg_catalog.pg_type AS d ON d.oid = b.base
    WHERE d.typtype = 'd'
),
domain AS MATERIALIZED (
    SELECT b.oid, b.base
    FROM base_type AS b
    JOIN pg_catalog.pg_type AS t ON t.oid = b.base
    WHERE t.typtype <> 'd'
),
-- Found first: the catalogue's own columns are ten times as many as those of most databases.
relation AS MATERIALIZED (
    SELECT c.oid, n.oid AS schema, n.nspname, c.relname, c.relkind, c.relam
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
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
)
SELECT
    pg_catalog.format('%I.%I', c.nspname, c.relname) AS name,
    CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'table' END AS kind,
    pg_catalog.pg_table_size(c.oid) AS size_bytes,
    CASE WHEN m.amname = 'heap'
        THEN pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8
        ELSE 1 END AS blocks,
    pg_catalog.has_schema_privilege(c.schema, 'USAGE')
        AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable,
    COALESCE(l.columns, '[]') AS columns
FROM relation AS c
LEFT JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
LEFT JOIN LATERAL (
    SELECT pg_catalog.jsonb_agg(
        pg_catalog.jsonb_build_object(
            'name', a.attname,
            'quoted', pg_catalog.quote_ident(a.attname),
            'builtin', CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname END,
            'domain_base', pg_catalog.format_type(d.base, -1),
            'output', pg_catalog.format('%I.%I', n.nspname, p.proname)
        )
        ORDER BY a.attnum
    ) AS columns
    FROM pg_catalog.pg_attribute AS a
    LEFT JOIN domain AS d ON d.oid = a.atttypid
    JOIN pg_catalog.pg_type AS t ON t.oid = COALESCE(d.base, a.atttypid)
    JOIN pg_catalog.pg_proc AS p ON p.oid = t.typoutput
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) AS l ON true
ORDER BY size_bytes DESC, name

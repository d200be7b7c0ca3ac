-- What the lint wants to know of the database, as one JSON document. Takes ACCESS SHARE on catalogues only.
-- Row numbers are never too small by much: statistics may be old or missing, the size of the file is not.
WITH relations AS (
    SELECT c.oid, c.relkind, c.reltuples,
           quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm')
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
), sizes AS (
    SELECT r.name,
           CASE WHEN r.reltuples < 0 THEN pg_catalog.pg_relation_size(r.oid) / 32
                ELSE greatest(r.reltuples, pg_catalog.pg_relation_size(r.oid) / 400) END::bigint AS rows
    FROM relations AS r
    WHERE r.relkind <> 'p'
), columns AS (
    SELECT r.name, json_object_agg(a.attname, json_build_object(
               'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull)) AS columns
    FROM relations AS r
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    GROUP BY r.name
), checks AS (
    SELECT r.name, json_agg(pg_catalog.pg_get_expr(k.conbin, k.conrelid) ORDER BY k.conname) AS expressions
    FROM relations AS r
    JOIN pg_catalog.pg_constraint AS k ON k.conrelid = r.oid AND k.contype = 'c' AND k.convalidated
    GROUP BY r.name
), domains AS (
    SELECT DISTINCT quote_ident(n.nspname) || '.' || quote_ident(t.typname) AS name
    FROM pg_catalog.pg_type AS t
    JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
    LEFT JOIN pg_catalog.pg_constraint AS k ON k.contypid = t.oid
    WHERE t.typtype = 'd' AND (t.typnotnull OR k.oid IS NOT NULL)
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
)
SELECT json_build_object(
    'default_schema', coalesce(pg_catalog.current_schema(), 'public'),
    'row_estimates', coalesce((SELECT json_object_agg(name, rows) FROM sizes), '{}'),
    'columns', coalesce((SELECT json_object_agg(name, columns) FROM columns), '{}'),
    'validated_checks', coalesce((SELECT json_object_agg(name, expressions) FROM checks), '{}'),
    'constrained_domains', coalesce((SELECT json_agg(name ORDER BY name) FROM domains), '[]')
)

-- What the lint wants to know of the database, as one JSON document. Takes ACCESS SHARE only: on
-- catalogues, and on each table while the size of its file is read, which waits behind ACCESS EXCLUSIVE.
-- Row numbers are never too small by much: statistics may be old or missing, the size of the file is not.
-- A partitioned table has the rows of its partitions; none are told where one of them is a foreign table.
WITH RECURSIVE relations AS (
    SELECT c.oid, c.relkind, c.reltuples,
           quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm')
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
), stored AS (
    SELECT r.oid, r.name,
           CASE WHEN r.reltuples < 0 THEN pg_catalog.pg_relation_size(r.oid) / 32
                ELSE greatest(r.reltuples, pg_catalog.pg_relation_size(r.oid) / 400) END::bigint AS rows
    FROM relations AS r
    WHERE r.relkind <> 'p'
), tree AS (
    SELECT r.name, r.oid FROM relations AS r WHERE r.relkind = 'p'
    UNION ALL
    SELECT t.name, i.inhrelid FROM tree AS t JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
), sizes AS (
    SELECT s.name, s.rows FROM stored AS s
    UNION ALL
    SELECT t.name, coalesce(sum(s.rows), 0)::bigint
    FROM tree AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
    LEFT JOIN stored AS s ON s.oid = t.oid
    GROUP BY t.name
    HAVING bool_and(c.relkind = 'p' OR s.oid IS NOT NULL)
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
), indexes AS (
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name,
           json_build_object(
               'table', r.name, 'partitioned', c.relkind = 'I',
               'columns', (SELECT coalesce(json_agg(a.attname ORDER BY k.place), '[]')
                           FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                           JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = k.attnum
                           WHERE k.place <= i.indnkeyatts)) AS facts
    FROM relations AS r
    JOIN pg_catalog.pg_index AS i ON i.indrelid = r.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
), partitioned AS (
    SELECT r.name, coalesce(d.name, '') AS default_partition
    FROM relations AS r
    JOIN pg_catalog.pg_partitioned_table AS p ON p.partrelid = r.oid
    LEFT JOIN relations AS d ON d.oid = p.partdefid
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
    'indexes', coalesce((SELECT json_object_agg(name, facts) FROM indexes), '{}'),
    'default_partitions', coalesce((SELECT json_object_agg(name, default_partition) FROM partitioned), '{}'),
    'tables_with_policies', coalesce((
        SELECT json_agg(r.name ORDER BY r.name) FROM relations AS r
        WHERE EXISTS (SELECT FROM pg_catalog.pg_policy AS p WHERE p.polrelid = r.oid)), '[]'),
    'constrained_domains', coalesce((SELECT json_agg(name ORDER BY name) FROM domains), '[]')
)

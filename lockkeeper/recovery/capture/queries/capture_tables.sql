-- Every table with rows of this database, and every partitioned root, as far as a capture must know it.
SELECT
    c.oid::bigint AS oid,
    n.nspname AS schema_name,
    c.relname AS name,
    pg_catalog.format('%I.%I', n.nspname, c.relname) AS identity,
    c.relkind = 'p' AS is_root,
    c.relpersistence = 'u' AS is_unlogged,
    pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_owned,
    CASE c.relreplident
        WHEN 'd' THEN 'DEFAULT' WHEN 'n' THEN 'NOTHING' WHEN 'f' THEN 'FULL'
        ELSE 'USING INDEX ' || (
            SELECT pg_catalog.quote_ident(x.relname)
            FROM pg_catalog.pg_index AS i
            JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
            WHERE i.indrelid = c.oid AND i.indisreplident
        ) END AS former_identity,
    EXISTS (
        SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid
    ) AS has_primary_key,
    CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::oid::bigint END AS root_oid,
    EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attgenerated = 'v'
    ) AS has_virtual_columns,
    (
        SELECT pg_catalog.jsonb_agg(
            pg_catalog.jsonb_build_object(
                'name', a.attname, 'number', a.attnum, 'type_oid', a.atttypid::bigint, 'typmod', a.atttypmod
            ) ORDER BY a.attnum
        )
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS columns
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
  AND c.relpersistence <> 't'
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
ORDER BY identity

-- Everything about one column that the new one must have too.
SELECT pg_catalog.jsonb_build_object(
    'attnum', a.attnum,
    'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
    'type_schema', tn.nspname,
    'base_type', pg_catalog.format_type(coalesce(nullif(t.typbasetype, 0), a.atttypid), NULL),
    'typcategory', t.typcategory,
    'collation', CASE WHEN a.attcollation <> t.typcollation AND a.attcollation <> 0 THEN
        (SELECT pg_catalog.format('%I.%I', cn.nspname, c.collname) FROM pg_catalog.pg_collation AS c
         JOIN pg_catalog.pg_namespace AS cn ON cn.oid = c.collnamespace WHERE c.oid = a.attcollation) END,
    'deterministic', coalesce((SELECT c.collisdeterministic FROM pg_catalog.pg_collation AS c WHERE c.oid = a.attcollation), true),
    'not_null', a.attnotnull,
    'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
    'generated', a.attgenerated <> '',
    'identity', nullif(a.attidentity::text, ''),
    'comment', pg_catalog.col_description(a.attrelid, a.attnum),
    'storage', CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END,
    'compression', nullif(a.attcompression::text, ''),
    'statistics', nullif(nullif(coalesce(a.attstattarget::int, -1), -1), 0),
    'options', a.attoptions,
    'inherited', a.attinhcount > 0,
    'grants', (
        SELECT pg_catalog.jsonb_agg(pg_catalog.format(
            '%s (%%s) ON %%s TO %s%s', g.privilege_type,
            CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END,
            CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END))
        FROM pg_catalog.aclexplode(a.attacl) AS g
    ),
    'partition_key', EXISTS (
        SELECT FROM pg_catalog.pg_partitioned_table AS p
        WHERE p.partrelid = a.attrelid AND a.attnum = ANY (p.partattrs::int2[])
    ),
    'sequence', pg_catalog.pg_get_serial_sequence(
        pg_catalog.format('%I.%I', n.nspname, c.relname), a.attname),
    'sequence_type', (
        SELECT pg_catalog.format_type(q.seqtypid, NULL) FROM pg_catalog.pg_sequence AS q
        WHERE q.seqrelid = pg_catalog.pg_get_serial_sequence(
            pg_catalog.format('%I.%I', n.nspname, c.relname), a.attname)::regclass
    ),
    'replica_identity', c.relreplident,
    'row_security', c.relrowsecurity
)::text
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = $oid AND a.attname = $column AND a.attnum > 0 AND NOT a.attisdropped

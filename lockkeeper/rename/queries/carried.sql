-- Definitions of what is carried over, as they read while the column has another name for a moment.
SELECT
    'index'::text, n.nspname::text, c.relname::text, t.relname::text, tn.nspname::text,
    pg_catalog.pg_get_indexdef(c.oid), x.indisunique, NULL::text, NULL::text[],
    pg_catalog.obj_description(c.oid, 'pg_class'), x.indisreplident
FROM pg_catalog.pg_index AS x
JOIN pg_catalog.pg_class AS c ON c.oid = x.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
WHERE c.oid = ANY ($indexes::oid[])
UNION ALL
SELECT
    'constraint ' || k.contype::text, kn.nspname::text, k.conname::text, t.relname::text, tn.nspname::text,
    pg_catalog.pg_get_constraintdef(k.oid), k.contype IN ('p', 'u'), pg_catalog.pg_get_indexdef(nullif(k.conindid, 0)),
    ARRAY[k.convalidated::text, k.condeferrable::text, k.condeferred::text, (
        k.contype = 'f' AND k.confrelid = $oid AND EXISTS (
            SELECT FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = $oid AND a.attname = $column AND a.attnum = ANY (k.confkey))
    )::text, k.connoinherit::text],
    pg_catalog.obj_description(k.oid, 'pg_constraint'),
    coalesce((SELECT x.indisreplident FROM pg_catalog.pg_index AS x WHERE x.indexrelid = k.conindid AND k.contype IN ('p', 'u')), false)
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_namespace AS kn ON kn.oid = k.connamespace
JOIN pg_catalog.pg_class AS t ON t.oid = k.conrelid
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
WHERE k.oid = ANY ($constraints::oid[])
UNION ALL
SELECT
    'statistics', n.nspname::text, s.stxname::text, t.relname::text, tn.nspname::text, pg_catalog.pg_get_statisticsobjdef(s.oid), false,
    NULL, NULL, pg_catalog.obj_description(s.oid, 'pg_statistic_ext'), false
FROM pg_catalog.pg_statistic_ext AS s
JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
JOIN pg_catalog.pg_class AS t ON t.oid = s.stxrelid
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
WHERE s.oid = ANY ($statistics::oid[])
ORDER BY 1, 2, 3

-- Tables, partitioned and foreign tables: everything but columns, constraints, indexes and triggers.
SELECT
    CASE c.relkind WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind,
    format('%I.%I', n.nspname, c.relname) AS identity,
    'schema ' || quote_ident(n.nspname) AS of,
    jsonb_build_object(
        'owner', pg_get_userbyid(c.relowner),
        'persistence', CASE c.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END,
        'access method', m.amname,
        'options', (SELECT jsonb_agg(o.o ORDER BY o.o) FROM unnest(c.reloptions) AS o (o)),
        'toast options', (SELECT jsonb_agg(o.o ORDER BY o.o) FROM unnest(t.reloptions) AS o (o)),
        'row level security', c.relrowsecurity,
        'forced row level security', c.relforcerowsecurity,
        'replica identity', CASE c.relreplident
            WHEN 'd' THEN 'default' WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full'
            ELSE 'index ' || (
                SELECT quote_ident(x.relname)
                FROM pg_index AS i
                JOIN pg_class AS x ON x.oid = i.indexrelid
                WHERE i.indrelid = c.oid AND i.indisreplident
            ) END,
        'of type', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
        'partition key', pg_get_partkeydef(c.oid),
        'partition bound', pg_get_expr(c.relpartbound, c.oid),
        'parents', (
            SELECT jsonb_agg(h.inhparent::regclass::text ORDER BY h.inhseqno)
            FROM pg_inherits AS h
            WHERE h.inhrelid = c.oid
        ),
        'detach pending', EXISTS (SELECT FROM pg_inherits AS h WHERE h.inhrelid = c.oid AND h.inhdetachpending),
        'server', (
            SELECT quote_ident(s.srvname)
            FROM pg_foreign_table AS f
            JOIN pg_foreign_server AS s ON s.oid = f.ftserver
            WHERE f.ftrelid = c.oid
        ),
        'foreign options', (
            SELECT jsonb_agg(o.o ORDER BY o.o)
            FROM pg_foreign_table AS f
            CROSS JOIN unnest(f.ftoptions) AS o (o)
            WHERE f.ftrelid = c.oid
        )
    ) AS properties
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_am AS m ON m.oid = c.relam
LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid
WHERE c.relkind IN ('r', 'p', 'f')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
  )

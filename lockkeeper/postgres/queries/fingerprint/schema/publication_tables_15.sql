-- Tables of publications with their column lists and row filters.
SELECT
    'publication member' AS kind,
    format('table %s in publication %I', r.prrelid::regclass, p.pubname) AS identity,
    'publication ' || quote_ident(p.pubname) AS of,
    jsonb_build_object(
        'columns', (
            SELECT jsonb_agg(a.attname ORDER BY a.attname)
            FROM pg_attribute AS a
            WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)
        ),
        'filter', pg_get_expr(r.prqual, r.prrelid)
    ) AS properties
FROM pg_publication_rel AS r
JOIN pg_publication AS p ON p.oid = r.prpubid

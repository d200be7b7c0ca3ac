-- Tables of publications (PostgreSQL 14 has no column lists and row filters).
SELECT
    'publication member' AS kind,
    format('table %s in publication %I', r.prrelid::regclass, p.pubname) AS identity,
    'publication ' || quote_ident(p.pubname) AS of,
    jsonb_build_object('columns', NULL, 'filter', NULL) AS properties
FROM pg_publication_rel AS r
JOIN pg_publication AS p ON p.oid = r.prpubid

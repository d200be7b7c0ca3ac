-- Schemas whose tables are all published (PostgreSQL 15 and later).
SELECT
    'publication member' AS kind,
    format('schema %I in publication %I', n.nspname, p.pubname) AS identity,
    'publication ' || quote_ident(p.pubname) AS of,
    '{}'::jsonb AS properties
FROM pg_publication_namespace AS r
JOIN pg_publication AS p ON p.oid = r.pnpubid
JOIN pg_namespace AS n ON n.oid = r.pnnspid

-- Tables that still have the full identity which a capture has given them, and what they had before: those of
-- its beginning by their names, those that the migration has made by their OIDs.
WITH note AS (
    SELECT pg_catalog.obj_description(p.oid, 'pg_publication')::jsonb AS note
    FROM pg_catalog.pg_publication AS p
    WHERE p.pubname = %(publication)s
      AND pg_catalog.obj_description(p.oid, 'pg_publication') LIKE '{"lockkeeper"%%'
),
noted AS (
    SELECT pg_catalog.to_regclass(i.key)::oid AS oid, i.value AS former_identity
    FROM note CROSS JOIN LATERAL pg_catalog.jsonb_each_text(note.note -> 'identities') AS i
    UNION
    SELECT a.key::oid, a.value
    FROM note CROSS JOIN LATERAL pg_catalog.jsonb_each_text(note.note -> 'adopted') AS a
)
SELECT DISTINCT ON (c.oid)
    pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS table_name, noted.former_identity
FROM noted
JOIN pg_catalog.pg_class AS c ON c.oid = noted.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relreplident = 'f'
  AND noted.former_identity <> 'FULL'

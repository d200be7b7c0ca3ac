-- Publications; columns that not every version has are taken from the row as JSON.
SELECT
    'publication' AS kind,
    quote_ident(p.pubname) AS identity,
    NULL AS of,
    jsonb_build_object(
        'owner', pg_get_userbyid(p.pubowner),
        'all tables', p.puballtables,
        'insert', p.pubinsert,
        'update', p.pubupdate,
        'delete', p.pubdelete,
        'truncate', p.pubtruncate,
        'via root', p.pubviaroot,
        'generated columns', NULLIF(to_jsonb(p) ->> 'pubgencols', 'n')
    ) AS properties
FROM pg_publication AS p

-- What pg_dump leaves out. to_jsonb reads columns that only some versions have (15: provider, 17: datlocale).
SELECT pg_catalog.pg_get_userbyid(d.datdba),
       pg_catalog.pg_encoding_to_char(d.encoding),
       d.datcollate,
       d.datctype,
       COALESCE(pg_catalog.to_jsonb(d) ->> 'datlocprovider', 'c'),
       COALESCE(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale'),
       t.spcname,
       d.datconnlimit,
       d.datacl::text[],
       pg_catalog.shobj_description(d.oid, 'pg_database')
FROM pg_catalog.pg_database AS d
JOIN pg_catalog.pg_tablespace AS t ON t.oid = d.dattablespace
WHERE d.datname = %s

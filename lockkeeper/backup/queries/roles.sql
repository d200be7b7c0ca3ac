-- Roles as far as anybody may see them: for servers whose pg_dumpall is not permitted.
SELECT pg_catalog.string_agg(
    pg_catalog.format(
        'CREATE ROLE %%I WITH %%s %%s %%s %%s %%s;',
        rolname,
        CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
        CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
        CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
        CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
        CASE WHEN rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END
    ),
    E'\n' ORDER BY rolname
)
FROM pg_catalog.pg_roles
WHERE rolname NOT LIKE 'pg\_%%'

-- ALTER DEFAULT PRIVILEGES.
SELECT
    'grants' AS kind,
    format(
        'default privileges of %I%s on %s',
        pg_get_userbyid(d.defaclrole),
        ' in schema ' || quote_ident(n.nspname),
        CASE d.defaclobjtype
            WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types'
            WHEN 'n' THEN 'schemas' ELSE 'large objects' END
    ) AS identity,
    'schema ' || quote_ident(n.nspname) AS of,
    jsonb_build_object('grants', (
        SELECT jsonb_agg(x.grant ORDER BY x.grant)
        FROM (
            SELECT a.privilege_type || ' to '
                || CASE a.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
                || CASE WHEN a.is_grantable THEN ' with grant option' ELSE '' END COLLATE "C" AS grant
            FROM aclexplode(d.defaclacl) AS a
        ) AS x
    )) AS properties
FROM pg_default_acl AS d
LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace

-- ALTER DATABASE ... SET and ALTER ROLE ... IN DATABASE ... SET.
SELECT r.rolname,
       pg_catalog.split_part(setting, '=', 1),
       pg_catalog.substr(setting, pg_catalog.strpos(setting, '=') + 1)
FROM pg_catalog.pg_db_role_setting AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS setting
WHERE d.datname = %s
ORDER BY 1 NULLS FIRST, 2

-- The roles that may enter a database and whose own default makes transactions read-write everywhere: it counts more
-- than a database's default. A role's default in one database alone is found with the database's settings.
SELECT r.rolname
FROM pg_catalog.pg_db_role_setting AS s
JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
CROSS JOIN LATERAL unnest(s.setconfig) AS setting
WHERE s.setdatabase = 0
    AND r.rolcanlogin
    AND pg_catalog.has_database_privilege(r.oid, %s, 'CONNECT')
    AND CASE
        WHEN setting LIKE 'default_transaction_read_only=%%' THEN NOT split_part(setting, '=', 2)::boolean
        ELSE false
    END
ORDER BY 1

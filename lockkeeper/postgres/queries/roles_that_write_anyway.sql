-- The roles whose own default makes transactions read-write in every database: it counts more than a database's
-- default. Where a role has such a default in one database alone, that is found with the database's settings.
SELECT r.rolname
FROM pg_catalog.pg_db_role_setting AS s
JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
CROSS JOIN LATERAL unnest(s.setconfig) AS setting
WHERE s.setdatabase = 0
    AND setting LIKE 'default_transaction_read_only=%'
    AND NOT split_part(setting, '=', 2)::boolean
ORDER BY 1

-- The subscriptions that write to a database now; a shared catalogue, readable by everybody but for passwords.
SELECT s.subname
FROM pg_catalog.pg_subscription AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid
WHERE d.datname = %s AND s.subenabled
ORDER BY 1

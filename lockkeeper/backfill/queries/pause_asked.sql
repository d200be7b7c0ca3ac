-- Whether anybody asks the backfills of this database to pause: see lockkeeper.monitoring.throttle.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_locks AS l
    JOIN pg_catalog.pg_database AS d ON d.oid = l.database
    WHERE l.locktype = 'advisory'
      AND l.classid = $class_id AND l.objid = $object_id AND l.objsubid = 2
      AND l.granted
      AND d.datname = pg_catalog.current_database()
)

-- For who may read the objects but not their table; 262144 is INV_READ, 2 is SEEK_END.
SELECT m.oid AS loid, g.pageno, d.data
FROM pg_catalog.pg_largeobject_metadata AS m
CROSS JOIN LATERAL (
    SELECT pg_catalog.lo_lseek64(pg_catalog.lo_open(m.oid, 262144), 0, 2) AS size
    OFFSET 0
) AS s
CROSS JOIN LATERAL pg_catalog.generate_series(0, (s.size - 1) / 2048) AS g (pageno)
CROSS JOIN LATERAL pg_catalog.lo_get(m.oid, g.pageno * 2048, 2048) AS d (data)

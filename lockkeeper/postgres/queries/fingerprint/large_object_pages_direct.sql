-- For who may read pg_largeobject itself (a superuser).
SELECT o.loid, o.pageno, o.data
FROM pg_catalog.pg_largeobject AS o

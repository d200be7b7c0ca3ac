-- Whether a table, of that schema or else found by the search_path, has a column of that name.
SELECT count(*) > 0
FROM pg_catalog.pg_attribute
WHERE attrelid = pg_catalog.to_regclass(
        concat_ws('.', quote_ident(%(schema)s::text), quote_ident(%(table)s::text)))
  AND attname = %(column)s AND attnum > 0 AND NOT attisdropped

-- Where the server keeps its data, when this role may know it.
SELECT pg_catalog.current_setting('data_directory', true)
WHERE pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE')

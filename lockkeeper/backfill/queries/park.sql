INSERT INTO lockkeeper.backfill_parked (change_id, schema_name, table_name, row_key, shown, sqlstate, message)
VALUES ($change_id, $schema, $table, $row_key, $shown, $sqlstate, $message)
ON CONFLICT (change_id, schema_name, table_name, row_key) DO UPDATE
SET sqlstate = EXCLUDED.sqlstate, message = EXCLUDED.message, at = pg_catalog.clock_timestamp()

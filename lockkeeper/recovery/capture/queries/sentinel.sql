-- Watches one slot from inside of the server; see sentinel.py. Each round is transactions of its own.
DO $sentinel$
DECLARE
    watched constant name := pg_catalog.current_setting('lockkeeper.slot');
    retained_limit constant numeric := pg_catalog.current_setting('lockkeeper.retained_wal_bytes')::numeric;
    abandoned_limit constant interval := pg_catalog.make_interval(
        secs => pg_catalog.current_setting('lockkeeper.abandoned_s')::float8
    );
    unread_since timestamptz := pg_catalog.clock_timestamp();
    slot record;
BEGIN
    LOOP
        SELECT
            s.active_pid,
            s.restart_lsn IS NULL AS is_lost,
            pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn) AS retained
        INTO slot
        FROM pg_catalog.pg_replication_slots AS s
        WHERE s.slot_name = watched;
        EXIT WHEN NOT FOUND;
        IF slot.active_pid IS NOT NULL THEN
            unread_since := pg_catalog.clock_timestamp();
        END IF;
        IF slot.is_lost OR slot.retained > retained_limit
            OR pg_catalog.clock_timestamp() - unread_since > abandoned_limit
        THEN
            IF slot.active_pid IS NOT NULL THEN
                PERFORM pg_catalog.pg_terminate_backend(slot.active_pid);
            END IF;
            BEGIN
                PERFORM pg_catalog.pg_drop_replication_slot(watched);
            EXCEPTION WHEN object_in_use OR undefined_object THEN
                NULL; -- its reader is still leaving: the next round finds out
            END;
        END IF;
        COMMIT;
        PERFORM pg_catalog.pg_sleep(1);
        COMMIT;
    END LOOP;
END
$sentinel$

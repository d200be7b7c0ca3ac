-- Whether a session, a standby or a slot still needs rows that died since transaction $mark (its low 32 bits).
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_stat_activity
    WHERE backend_xmin IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
        AND pg_catalog.age(backend_xmin) > pg_catalog.age(($mark::bigint & 4294967295)::text::xid)
) OR EXISTS (
    SELECT FROM pg_catalog.pg_replication_slots
    WHERE xmin IS NOT NULL AND pg_catalog.age(xmin) > pg_catalog.age(($mark::bigint & 4294967295)::text::xid)
)

-- Check constraints of tables, and of domains (whose value is called VALUE); what partitions take (kind -1).
SELECT conrelid, contypid::bigint, pg_catalog.pg_get_expr(conbin, conrelid)
FROM pg_catalog.pg_constraint
WHERE contype = 'c'
UNION ALL
SELECT p.partrelid, -1, pg_catalog.pg_get_partition_constraintdef(t.relid)
FROM pg_catalog.pg_partitioned_table AS p
JOIN pg_catalog.pg_class AS c ON c.oid = p.partrelid AND NOT c.relispartition
CROSS JOIN LATERAL pg_catalog.pg_partition_tree(p.partrelid) AS t
WHERE t.isleaf
    AND t.level > 0
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_partitioned_table AS d WHERE d.partdefid = t.relid)
ORDER BY 1, 3

-- Sequences of the database with their direction; values are read one by one.
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), s.seqincrement, s.seqcycle
FROM pg_catalog.pg_sequence AS s
JOIN pg_catalog.pg_class AS c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relpersistence <> 't'
ORDER BY 1

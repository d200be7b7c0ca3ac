-- A sequence as the options of one that goes on where it stands, and its type.
SELECT
    pg_catalog.format(
        'START WITH %s INCREMENT BY %s MINVALUE %s CACHE %s %s',
        s.last_value + CASE WHEN s.is_called THEN q.seqincrement ELSE 0 END, q.seqincrement, q.seqmin, q.seqcache,
        CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END
    ),
    pg_catalog.format_type(q.seqtypid, NULL)
FROM $sequence AS s
CROSS JOIN pg_catalog.pg_sequence AS q
WHERE q.seqrelid = $name::regclass

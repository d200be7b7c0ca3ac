-- A sequence: its options, and the statement's arguments that let another one go on where it stands.
SELECT
    pg_catalog.format(
        'START WITH %s INCREMENT BY %s MINVALUE %s %s CACHE %s %s',
        q.seqstart, q.seqincrement, q.seqmin,
        CASE WHEN q.seqmax IN (32767, 2147483647, 9223372036854775807) THEN '' ELSE 'MAXVALUE ' || q.seqmax END,
        q.seqcache, CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END
    ),
    pg_catalog.format('%s, %s', s.last_value, s.is_called::text)
FROM $sequence AS s
CROSS JOIN pg_catalog.pg_sequence AS q
WHERE q.seqrelid = $name::regclass

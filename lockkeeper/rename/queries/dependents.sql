-- What depends on one column: its kind, number, name, and words for people.
SELECT DISTINCT
    CASE
        WHEN d.classid = 'pg_catalog.pg_class'::regclass THEN 'class ' || c.relkind::text
        WHEN d.classid = 'pg_catalog.pg_constraint'::regclass THEN
            -- Of a foreign key from a table to itself the column is one end: the one that is pointed at is incoming.
            'constraint ' || CASE
                WHEN k.contype = 'f' AND k.confrelid = d.refobjid AND d.refobjsubid = ANY (k.confkey) THEN 'incoming '
                ELSE '' END || k.contype::text
        WHEN d.classid = 'pg_catalog.pg_rewrite'::regclass THEN 'rule ' || v.relkind::text
        WHEN d.classid = 'pg_catalog.pg_attrdef'::regclass THEN
            CASE WHEN e.adrelid = d.refobjid AND e.adnum = d.refobjsubid THEN 'default' ELSE 'generated' END
        WHEN d.classid = 'pg_catalog.pg_trigger'::regclass THEN
            CASE WHEN g.tgisinternal OR g.tgname LIKE 'zzz\_lockkeeper\_%' THEN 'ours' ELSE 'trigger' END
        ELSE d.classid::regclass::text
    END,
    CASE WHEN d.classid = 'pg_catalog.pg_rewrite'::regclass THEN v.oid::bigint ELSE d.objid::bigint END,
    pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
FROM pg_catalog.pg_depend AS d
LEFT JOIN pg_catalog.pg_class AS c ON d.classid = 'pg_catalog.pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_catalog.pg_constraint AS k
    ON d.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = d.objid
LEFT JOIN pg_catalog.pg_rewrite AS r ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid
LEFT JOIN pg_catalog.pg_class AS v ON v.oid = r.ev_class
LEFT JOIN pg_catalog.pg_attrdef AS e ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND e.oid = d.objid
LEFT JOIN pg_catalog.pg_trigger AS g ON d.classid = 'pg_catalog.pg_trigger'::regclass AND g.oid = d.objid
WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = $oid
    AND d.refobjsubid = (SELECT attnum FROM pg_catalog.pg_attribute WHERE attrelid = $oid AND attname = $column)
ORDER BY 1, 3

-- Grants on every kind of object. No ACL is the same as the built-in default, so it is written out as that; the
-- owner's grants go with the object when its owner changes.
WITH object (identity, acl, owner, classid, oid) AS (
    SELECT 'schema ' || quote_ident(n.nspname), COALESCE(n.nspacl, acldefault('n', n.nspowner)),
        n.nspowner, 'pg_namespace'::regclass, n.oid
    FROM pg_namespace AS n
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL
    SELECT CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view '
        WHEN 'f' THEN 'foreign table ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END
            || format('%I.%I', n.nspname, c.relname),
        COALESCE(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)),
        c.relowner, 'pg_class'::regclass, c.oid
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL
    SELECT format('column %I.%I.%I', n.nspname, c.relname, a.attname), a.attacl,
        c.relowner, 'pg_class'::regclass, c.oid
    FROM pg_attribute AS a
    JOIN pg_class AS c ON c.oid = a.attrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL
    SELECT CASE p.prokind WHEN 'p' THEN 'procedure ' WHEN 'a' THEN 'aggregate ' ELSE 'function ' END
        || p.oid::regprocedure, COALESCE(p.proacl, acldefault('f', p.proowner)),
        p.proowner, 'pg_proc'::regclass, p.oid
    FROM pg_proc AS p
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL
    SELECT format('type %I.%I', n.nspname, t.typname), COALESCE(t.typacl, acldefault('T', t.typowner)),
        t.typowner, 'pg_type'::regclass, t.oid
    FROM pg_type AS t
    JOIN pg_namespace AS n ON n.oid = t.typnamespace
    LEFT JOIN pg_class AS c ON c.oid = t.typrelid
    WHERE t.typtype IN ('e', 'd', 'c', 'r', 'b') AND (t.typrelid = 0 OR c.relkind = 'c')
      AND NOT EXISTS (SELECT FROM pg_type AS e WHERE e.typarray = t.oid)
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL
    SELECT 'language ' || quote_ident(l.lanname), COALESCE(l.lanacl, acldefault('l', l.lanowner)),
        l.lanowner, 'pg_language'::regclass, l.oid
    FROM pg_language AS l
    WHERE l.lanispl
    UNION ALL
    SELECT 'foreign-data wrapper ' || quote_ident(w.fdwname), COALESCE(w.fdwacl, acldefault('F', w.fdwowner)),
        w.fdwowner, 'pg_foreign_data_wrapper'::regclass, w.oid
    FROM pg_foreign_data_wrapper AS w
    UNION ALL
    SELECT 'server ' || quote_ident(s.srvname), COALESCE(s.srvacl, acldefault('S', s.srvowner)),
        s.srvowner, 'pg_foreign_server'::regclass, s.oid
    FROM pg_foreign_server AS s
)
SELECT
    'grants' AS kind,
    o.identity,
    o.identity AS of,
    jsonb_build_object('grants', (
        SELECT jsonb_agg(x.grant ORDER BY x.grant)
        FROM (
            SELECT a.privilege_type || ' to '
                || CASE a.grantee
                    WHEN 0 THEN 'public' WHEN o.owner THEN 'its owner'
                    ELSE quote_ident(pg_get_userbyid(a.grantee)) END
                || CASE WHEN a.is_grantable THEN ' with grant option' ELSE '' END COLLATE "C" AS grant
            FROM aclexplode(o.acl) AS a
        ) AS x
    )) AS properties
FROM object AS o
WHERE NOT EXISTS (
      SELECT FROM pg_depend AS e
      WHERE e.classid = o.classid
        AND e.objid = o.oid
        AND (e.deptype = 'e' OR (e.deptype = 'i' AND o.classid = 'pg_proc'::regclass))
  )

-- Run by the migration itself before each of its commits: its new tables are captured from their first moment
-- on. Which capture, and what it leaves out, is in lockkeeper.capture. Nothing in here fails the migration.
DO $lockkeeper$
DECLARE
    told CONSTANT jsonb := pg_catalog.current_setting('lockkeeper.capture')::jsonb;
    publication CONSTANT text := told ->> 'publication';
    lock_timeout CONSTANT text := pg_catalog.current_setting('lock_timeout');
    noted jsonb;
    adopted jsonb := '{}';
    one record;
BEGIN
    SELECT COALESCE(pg_catalog.obj_description(p.oid, 'pg_publication'), '{}')::jsonb INTO noted
    FROM pg_catalog.pg_publication AS p WHERE p.pubname = publication;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- The migration has locked what it has made; for what anybody else has made it must not wait.
    PERFORM pg_catalog.set_config('lock_timeout', '50ms', true);
    FOR one IN
        SELECT
            c.oid,
            pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS identity,
            c.relkind = 'p' AS is_root,
            CASE c.relreplident
                WHEN 'd' THEN 'DEFAULT' WHEN 'n' THEN 'NOTHING' WHEN 'f' THEN 'FULL'
                ELSE 'USING INDEX ' || (
                    SELECT pg_catalog.quote_ident(x.relname)
                    FROM pg_catalog.pg_index AS i
                    JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
                    WHERE i.indrelid = c.oid AND i.indisreplident
                ) END AS former,
            k.has_key,
            v.has_virtual,
            g.relid IS NOT NULL AS is_listed
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_get_publication_tables(publication) AS g ON g.relid = c.oid
        CROSS JOIN LATERAL (
            SELECT EXISTS (
                SELECT FROM pg_catalog.pg_index AS i
                WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid
            ) AS has_key
        ) AS k
        CROSS JOIN LATERAL (
            SELECT EXISTS (
                SELECT FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = c.oid AND a.attgenerated = 'v' AND NOT a.attisdropped
            ) AS has_virtual
        ) AS v
        WHERE c.relkind IN ('r', 'p')
          AND c.relpersistence = 'p'
          AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
          AND pg_catalog.left(n.nspname, 3) <> 'pg_'
          AND n.nspname <> 'information_schema'
          AND CASE
              WHEN c.relkind = 'p' THEN k.has_key AND NOT c.relispartition AND NOT EXISTS (
                  SELECT FROM pg_catalog.pg_publication_rel AS r
                  JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
                  WHERE r.prrelid = c.oid AND p.pubname = publication
              )
              ELSE g.relid IS NULL OR (v.has_virtual AND c.relreplident = 'f')
          END
          AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_depend AS d
              WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e'
          )
          AND pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) <> ALL (
              ARRAY(SELECT pg_catalog.jsonb_array_elements_text(told -> 'outside'))
          )
        ORDER BY c.relkind = 'p' DESC, c.oid
    LOOP
        BEGIN
            IF one.is_root THEN
                EXECUTE 'ALTER PUBLICATION ' || pg_catalog.quote_ident(publication)
                    || ' ADD TABLE ' || one.identity;
                CONTINUE;
            END IF;
            IF one.has_virtual AND one.former = 'FULL' AND one.has_key THEN
                -- PostgreSQL 18 would refuse every UPDATE of it.
                EXECUTE 'ALTER TABLE ONLY ' || one.identity || ' REPLICA IDENTITY DEFAULT';
            ELSIF one.has_virtual AND one.is_listed AND NOT one.has_key THEN
                EXECUTE 'ALTER PUBLICATION ' || pg_catalog.quote_ident(publication)
                    || ' DROP TABLE ' || one.identity;
                CONTINUE;
            ELSIF one.has_virtual AND NOT one.has_key THEN
                CONTINUE;
            ELSIF NOT one.has_virtual AND one.former <> 'FULL' THEN
                BEGIN
                    EXECUTE 'ALTER TABLE ONLY ' || one.identity || ' REPLICA IDENTITY FULL';
                EXCEPTION WHEN object_in_use THEN
                    -- Deferred checks of its rows are due within this commit anyway.
                    SET CONSTRAINTS ALL IMMEDIATE;
                    EXECUTE 'ALTER TABLE ONLY ' || one.identity || ' REPLICA IDENTITY FULL';
                END;
                adopted := adopted || pg_catalog.jsonb_build_object(one.oid::text, one.former);
            END IF;
            IF NOT EXISTS (
                SELECT FROM pg_catalog.pg_get_publication_tables(publication) AS g WHERE g.relid = one.oid
            ) THEN
                EXECUTE 'ALTER PUBLICATION ' || pg_catalog.quote_ident(publication)
                    || ' ADD TABLE ONLY ' || one.identity;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            -- It stays outside of the publication, and whoever takes the database back finds it there.
            RAISE WARNING USING MESSAGE = 'lockkeeper: ' || one.identity || ' is not captured: ' || SQLERRM;
        END;
    END LOOP;
    PERFORM pg_catalog.set_config('lock_timeout', lock_timeout, true);
    IF adopted <> '{}' THEN
        noted := noted || pg_catalog.jsonb_build_object(
            'adopted', COALESCE(noted -> 'adopted', '{}') || adopted
        );
        -- Who reads the note knows it by what it begins with.
        EXECUTE 'COMMENT ON PUBLICATION ' || pg_catalog.quote_ident(publication) || ' IS '
            || pg_catalog.quote_literal(
                '{"lockkeeper": "capture", ' || pg_catalog.substr((noted - 'lockkeeper')::text, 2)
            );
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING USING MESSAGE = 'lockkeeper: new tables may not be captured: ' || SQLERRM;
END
$lockkeeper$

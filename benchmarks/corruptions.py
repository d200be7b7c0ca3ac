"""What may have happened to a copy of any database, as queries over its catalogue.

Each query returns candidates: a statement, and what a report of the damage must name. They are written from
PostgreSQL's documentation, for databases that nobody here has chosen: which object is hit is decided by chance.
"""
# ruff: noqa: E501 - SQL of one line reads better in a table

from __future__ import annotations

COLUMNS = """
WITH column_of AS (
    SELECT c.oid::regclass AS t, c.relname, a.attname, a.atttypid::regtype::text AS type, a.atttypmod,
           a.attnotnull, a.atthasdef, a.attnum,
           format('ctid = (SELECT ctid FROM %s WHERE %I IS NOT NULL ORDER BY random() LIMIT 1)', c.oid::regclass, a.attname) AS one
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind = 'r' AND a.attgenerated = '' AND a.attidentity = ''
      AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
)
"""
TABLES = """
WITH table_of AS (
    SELECT c.oid, c.oid::regclass AS t, c.relname FROM pg_class c
    WHERE c.relkind = 'r' AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
)
"""
CONSTRAINTS = """
WITH constraint_of AS (
    SELECT k.conrelid::regclass AS t, c.relname, k.conname, k.contype, pg_get_constraintdef(k.oid) AS def
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
)
"""
FUNCTIONS = """
WITH function_of AS (
    SELECT p.oid, p.oid::regprocedure AS f, p.proname, pg_get_functiondef(p.oid) AS def, p.prosrc, l.lanname
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.prokind = 'f' AND p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
      AND l.lanname IN ('sql', 'plpgsql')
)
"""


def _value(types: str, change: str) -> str:
    return f"""{COLUMNS} SELECT format('UPDATE %s SET %I = {change} WHERE %s', t, attname, attname, one), relname, attname
    FROM column_of WHERE type IN ({types})"""


TEXTS = "'text', 'character varying'"
CONTENT = {
    "a character more": _value(TEXTS, "%I || ''x''"),
    "a trailing blank": _value("'text'", "%I || '' ''"),
    "a letter's case": f"{COLUMNS} SELECT format('UPDATE %s SET %I = translate(%I, ''aeiou'', ''AEIOU'') WHERE ctid = (SELECT ctid FROM %s WHERE %I ~ ''[aeiou]'' LIMIT 1)', t, attname, attname, t, attname), relname, attname FROM column_of WHERE type IN ({TEXTS})",
    "an accent": f"{COLUMNS} SELECT format('UPDATE %s SET %I = replace(%I, ''e'', ''é'') WHERE ctid = (SELECT ctid FROM %s WHERE %I ~ ''e'' LIMIT 1)', t, attname, attname, t, attname), relname, attname FROM column_of WHERE type IN ({TEXTS})",
    "empty for NULL": f"{COLUMNS} SELECT format('UPDATE %s SET %I = '''' WHERE ctid = (SELECT ctid FROM %s WHERE %I IS NULL LIMIT 1)', t, attname, t, attname), relname, attname FROM column_of WHERE type IN ({TEXTS})",
    "NULL for a value": f"{COLUMNS} SELECT format('UPDATE %s SET %I = NULL WHERE %s', t, attname, one), relname, attname FROM column_of WHERE NOT attnotnull",
    "a number one higher": _value("'integer', 'smallint'", "%I + 1"),
    "a high bit": _value("'bigint'", "%I # (1::bigint << 40)"),
    "a sign": _value("'integer', 'bigint', 'smallint', 'numeric'", "-1 - %I"),
    "a truth value": _value("'boolean'", "NOT %I"),
    "a microsecond": _value(
        "'timestamp without time zone', 'timestamp with time zone'", "%I + interval ''1 microsecond''"
    ),
    "a row gone": f"{TABLES} SELECT format('DELETE FROM %s WHERE ctid = (SELECT ctid FROM %s ORDER BY random() LIMIT 1)', t, t), relname FROM table_of",
    "a table emptied": f"{TABLES} SELECT format('DELETE FROM %s', t), relname FROM table_of",
    "half of the rows gone": f"{TABLES} SELECT format('DELETE FROM %s WHERE ctid IN (SELECT ctid FROM %s LIMIT (SELECT (count(*) + 1) / 2 FROM %s))', t, t, t), relname FROM table_of",
    "a row twice": f"{TABLES} SELECT format('INSERT INTO %s SELECT * FROM %s LIMIT 1', t, t), relname FROM table_of o WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = o.oid AND i.indisunique)",
    "two rows' values exchanged": f"{COLUMNS} SELECT format('WITH two AS (SELECT ctid, row_number() OVER () AS n, %I AS v FROM (SELECT DISTINCT ON (%I) ctid, %I FROM %s WHERE %I IS NOT NULL LIMIT 2) x) UPDATE %s SET %I = other.v FROM two AS mine JOIN two AS other ON other.n <> mine.n WHERE %s.ctid = mine.ctid', attname, attname, attname, t, attname, t, attname, t), relname FROM column_of",
    "a sequence behind": "SELECT format('SELECT setval(%L, 1, false) FROM %s WHERE is_called OR last_value > 1', c.oid::regclass, c.oid::regclass), c.relname FROM pg_class c WHERE c.relkind = 'S'",
}
SCHEMA = {
    "an index dropped": "SELECT format('DROP INDEX %s', i.indexrelid::regclass), c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid WHERE t.relkind = 'r' AND t.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace) AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)",
    "an index invalid": "SELECT format('UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s', i.indexrelid), c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid WHERE t.relkind = 'r' AND t.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace)",
    "an index without UNIQUE": "SELECT format('DROP INDEX %s; %s', i.indexrelid::regclass, replace(pg_get_indexdef(i.indexrelid), 'CREATE UNIQUE', 'CREATE')), c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid WHERE i.indisunique AND t.relkind = 'r' AND t.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace) AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)",
    "an index more": f"{COLUMNS} SELECT format('CREATE INDEX lk_extra ON %s (%I)', t, attname), 'lk_extra' FROM column_of",
    "a key dropped": f"{CONSTRAINTS} SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', t, conname), relname, conname FROM constraint_of WHERE contype IN ('p', 'u')",
    "a foreign key dropped": f"{CONSTRAINTS} SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', t, conname), relname, conname FROM constraint_of WHERE contype = 'f'",
    "a foreign key NOT VALID": f"{CONSTRAINTS} SELECT format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s NOT VALID', t, conname, conname, def), relname, conname FROM constraint_of WHERE contype = 'f'",
    "a foreign key that waits": f"{CONSTRAINTS} SELECT format('ALTER TABLE %s ALTER CONSTRAINT %I DEFERRABLE INITIALLY DEFERRED', t, conname), relname, conname FROM constraint_of WHERE contype = 'f'",
    "a foreign key's action": f"{CONSTRAINTS} SELECT format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s ON DELETE SET NULL', t, conname, conname, def), relname, conname FROM constraint_of WHERE contype = 'f' AND def NOT LIKE '%%ON DELETE%%' AND def NOT LIKE '%%DEFERR%%'",
    "foreign keys not enforced": f"{CONSTRAINTS} SELECT format('ALTER TABLE %s DISABLE TRIGGER ALL', t), relname FROM constraint_of WHERE contype = 'f'",
    "a check dropped": f"{CONSTRAINTS} SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', t, conname), relname, conname FROM constraint_of WHERE contype = 'c'",
    "a check more, not valid": f"{COLUMNS} SELECT format('ALTER TABLE %s ADD CONSTRAINT lk_extra CHECK (%I IS NOT NULL) NOT VALID', t, attname), relname, 'lk_extra' FROM column_of",
    "a default gone": f"{COLUMNS} SELECT format('ALTER TABLE %s ALTER %I DROP DEFAULT', t, attname), relname, attname FROM column_of WHERE atthasdef",
    "a default more": f"{COLUMNS} SELECT format('ALTER TABLE %s ALTER %I SET DEFAULT ''x''', t, attname), relname, attname FROM column_of WHERE NOT atthasdef AND type IN ({TEXTS})",
    "NOT NULL gone": f"{COLUMNS} SELECT format('ALTER TABLE %s ALTER %I DROP NOT NULL', t, attname), relname, attname FROM column_of WHERE attnotnull",
    "a longer varchar": f"{COLUMNS} SELECT format('ALTER TABLE %s ALTER %I TYPE varchar(%s)', t, attname, atttypmod - 3), relname, attname FROM column_of WHERE type = 'character varying' AND atttypmod > 4",
    "a wider integer": f"{COLUMNS} SELECT format('ALTER TABLE %s ALTER %I TYPE bigint', t, attname), relname, attname FROM column_of WHERE type = 'integer' AND NOT atthasdef",
    "a collation": f"{COLUMNS} SELECT format('ALTER TABLE %s ALTER %I TYPE text COLLATE \"C\"', t, attname), relname, attname FROM column_of WHERE type = 'text'",
    "a column gone": f"{COLUMNS} SELECT format('ALTER TABLE %s DROP COLUMN %I', t, attname), relname, attname FROM column_of",
    "a column renamed": f"{COLUMNS} SELECT format('ALTER TABLE %s RENAME COLUMN %I TO lk_renamed', t, attname), relname, 'lk_renamed' FROM column_of",
    "a column more": f"{TABLES} SELECT format('ALTER TABLE %s ADD COLUMN lk_more int', t), relname, 'lk_more' FROM table_of",
    "a column's storage": f"{COLUMNS} SELECT format('ALTER TABLE %s ALTER %I SET STORAGE EXTERNAL', t, attname), relname, attname FROM column_of WHERE type = 'text'",
    "a column's statistics": f"{COLUMNS} SELECT format('ALTER TABLE %s ALTER %I SET STATISTICS 250', t, attname), relname, attname FROM column_of",
    "a table gone": f"{TABLES} SELECT format('DROP TABLE %s', t), relname FROM table_of",
    "a table renamed": f"{TABLES} SELECT format('ALTER TABLE %s RENAME TO lk_renamed', t), 'lk_renamed' FROM table_of",
    "a table more": "SELECT 'CREATE TABLE lk_more (id int)', 'lk_more'",
    "a table's option": f"{TABLES} SELECT format('ALTER TABLE %s SET (fillfactor = 71)', t), relname FROM table_of",
    "unlogged": f"{TABLES} SELECT format('ALTER TABLE %s SET UNLOGGED', t), relname FROM table_of",
    "replica identity": f"{TABLES} SELECT format('ALTER TABLE %s REPLICA IDENTITY FULL', t), relname FROM table_of",
    "row level security": f"{TABLES} SELECT format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t), relname FROM table_of",
    "a policy": f"{TABLES} SELECT format('CREATE POLICY lk_extra ON %s USING (true)', t), relname, 'lk_extra' FROM table_of",
    "an owner": f"{TABLES} SELECT format('ALTER TABLE %s OWNER TO lk_somebody', t), relname FROM table_of",
    "a grant": f"{TABLES} SELECT format('GRANT INSERT ON %s TO lk_somebody', t), relname, 'lk_somebody' FROM table_of",
    "the owner's own grant": f"{TABLES} SELECT format('REVOKE DELETE ON %s FROM CURRENT_USER', t), relname FROM table_of",
    "a column's grant": f"{COLUMNS} SELECT format('GRANT UPDATE (%I) ON %s TO lk_somebody', attname, t), relname, attname FROM column_of",
    "default privileges": "SELECT 'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO lk_somebody', 'lk_somebody'",
    "a schema more": "SELECT 'CREATE SCHEMA lk_more', 'lk_more'",
    "a comment": f"{COLUMNS} SELECT format('COMMENT ON COLUMN %s.%I IS ''something else''', t, attname), relname, attname FROM column_of",
    "a trigger disabled": "SELECT format('ALTER TABLE %s DISABLE TRIGGER %I', tgrelid::regclass, tgname), tgname FROM pg_trigger WHERE NOT tgisinternal",
    "a trigger dropped": "SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass), tgname FROM pg_trigger WHERE NOT tgisinternal",
    "a trigger more": f"{TABLES} SELECT format('CREATE TRIGGER lk_extra BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()', t), 'lk_extra' FROM table_of",
    "a rule more": f"{TABLES} SELECT format('CREATE RULE lk_extra AS ON DELETE TO %s DO INSTEAD NOTHING', t), 'lk_extra' FROM table_of",
    "a function's body": f"{FUNCTIONS} SELECT replace(def, prosrc, prosrc || E'\\n-- changed'), proname FROM function_of",
    "a function's volatility": f"{FUNCTIONS} SELECT format('ALTER FUNCTION %s %s', f, CASE WHEN def LIKE '%% IMMUTABLE%%' THEN 'VOLATILE' ELSE 'IMMUTABLE' END), proname FROM function_of",
    "a function's rights": f"{FUNCTIONS} SELECT format('ALTER FUNCTION %s SECURITY DEFINER', f), proname FROM function_of WHERE def NOT LIKE '%%SECURITY DEFINER%%'",
    "a function gone": f"{FUNCTIONS} SELECT format('DROP FUNCTION %s', f), proname FROM function_of",
    "a view's query": "SELECT format('CREATE OR REPLACE VIEW %s AS SELECT * FROM (%s) AS x LIMIT 1', c.oid::regclass, rtrim(pg_get_viewdef(c.oid), ';')), c.relname FROM pg_class c WHERE c.relkind = 'v' AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)",
    "a view gone": "SELECT format('DROP VIEW %s', c.oid::regclass), c.relname FROM pg_class c WHERE c.relkind = 'v' AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)",
    "an enum's label": "SELECT format('ALTER TYPE %s RENAME VALUE %L TO ''lk_renamed''', t.oid::regtype, e.enumlabel), t.typname, 'lk_renamed' FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid",
    "an enum's order": "SELECT format('ALTER TYPE %s ADD VALUE ''lk_first'' BEFORE %L', t.oid::regtype, e.enumlabel), t.typname, 'lk_first' FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid",
    "a sequence's step": "SELECT format('ALTER SEQUENCE %s INCREMENT 7', c.oid::regclass), c.relname FROM pg_class c WHERE c.relkind = 'S'",
    "a sequence's owner column": "SELECT format('ALTER SEQUENCE %s OWNED BY NONE', c.oid::regclass), c.relname FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'a' WHERE c.relkind = 'S'",
    "a statistics object": f"{TABLES} SELECT format('CREATE STATISTICS lk_extra ON %s FROM %s', string_agg(quote_ident(a.attname), ', '), o.t), 'lk_extra' FROM table_of o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum IN (1, 2) GROUP BY o.t HAVING count(*) = 2",
    "a publication": f"{TABLES} SELECT format('CREATE PUBLICATION lk_extra FOR TABLE %s', t), 'lk_extra' FROM table_of",
    "a domain": "SELECT 'CREATE DOMAIN lk_more AS int', 'lk_more'",
    "an extension": "SELECT 'CREATE EXTENSION plpgsql_check', 'plpgsql_check' FROM pg_available_extensions WHERE name = 'plpgsql_check'",
}
HARMLESS = {
    "nothing": "SELECT 'SELECT 1'",
    "VACUUM FULL": f"{TABLES} SELECT format('VACUUM FULL %s', t) FROM table_of",
    "VACUUM FREEZE of all": "SELECT 'VACUUM FREEZE'",
    "ANALYZE of all": "SELECT 'ANALYZE'",
    "every row of a table written again": f"{COLUMNS} SELECT format('UPDATE %s SET %I = %I', t, attname, attname) FROM column_of",
    "rows in another order": f"{TABLES} SELECT format('CREATE TEMP TABLE k AS SELECT * FROM %s ORDER BY ctid DESC; DELETE FROM %s; INSERT INTO %s SELECT * FROM k', t, t, t) FROM table_of",
    "a row deleted and put back": f"{TABLES} SELECT format('CREATE TEMP TABLE k AS SELECT * FROM %s LIMIT 1; DELETE FROM %s WHERE ctid = (SELECT ctid FROM %s LIMIT 1); INSERT INTO %s SELECT * FROM k', t, t, t, t) FROM table_of",
    "indexes built anew": f"{TABLES} SELECT format('REINDEX TABLE %s', t) FROM table_of",
    "an index dropped and made again": "SELECT format('DROP INDEX %s; %s', i.indexrelid::regclass, pg_get_indexdef(i.indexrelid)) FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid WHERE t.relkind = 'r' AND t.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace) AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)",
    "a constraint dropped and made again": f"{CONSTRAINTS} SELECT format('ALTER TABLE %s DROP CONSTRAINT %I; ALTER TABLE %s ADD CONSTRAINT %I %s', t, conname, t, conname, def) FROM constraint_of WHERE contype IN ('f', 'c')",
    "a constraint validated later": f"{CONSTRAINTS} SELECT format('ALTER TABLE %s DROP CONSTRAINT %I; ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID; ALTER TABLE %s VALIDATE CONSTRAINT %I', t, conname, t, conname, def, t, conname) FROM constraint_of WHERE contype = 'f'",
    "a column added and dropped": f"{TABLES} SELECT format('ALTER TABLE %s ADD COLUMN lk_gone int DEFAULT 5; ALTER TABLE %s DROP COLUMN lk_gone', t, t) FROM table_of",
    "a default dropped and set again": f"{COLUMNS} SELECT format('ALTER TABLE %s ALTER %I DROP DEFAULT; ALTER TABLE %s ALTER %I SET DEFAULT %s', c.t, c.attname, c.t, c.attname, pg_get_expr(d.adbin, d.adrelid)) FROM column_of c JOIN pg_attrdef d ON d.adrelid = c.t AND d.adnum = c.attnum",
    "a grant given and taken": f"{TABLES} SELECT format('GRANT SELECT ON %s TO lk_somebody; REVOKE SELECT ON %s FROM lk_somebody', t, t) FROM table_of",
    "an owner's grants spelt out": f"{TABLES} SELECT format('GRANT ALL ON %s TO CURRENT_USER', t) FROM table_of",
    "a comment set and taken away": f"{TABLES} SELECT format('COMMENT ON TABLE %s IS ''x''; COMMENT ON TABLE %s IS NULL', t, t) FROM table_of WHERE obj_description(oid) IS NULL",
    "triggers disabled and enabled": f"{TABLES} SELECT format('ALTER TABLE %s DISABLE TRIGGER ALL; ALTER TABLE %s ENABLE TRIGGER ALL', t, t) FROM table_of",
    "a statistics object made and dropped": f"{TABLES} SELECT format('CREATE STATISTICS lk_gone ON %s FROM %s; DROP STATISTICS lk_gone', string_agg(quote_ident(a.attname), ', '), o.t) FROM table_of o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum IN (1, 2) GROUP BY o.t HAVING count(*) = 2",
    "a publication made and dropped": "SELECT 'CREATE PUBLICATION lk_gone FOR ALL TABLES; DROP PUBLICATION lk_gone'",
    "a function made again": f"{FUNCTIONS} SELECT def FROM function_of",
    "a view made again": "SELECT format('CREATE OR REPLACE VIEW %s AS %s', c.oid::regclass, pg_get_viewdef(c.oid)) FROM pg_class c WHERE c.relkind = 'v' AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)",
    "a temporary table": "SELECT 'CREATE TEMP TABLE lk_gone (id int)'",
    "other settings of the database": "SELECT format('ALTER DATABASE %I SET datestyle = german; ALTER DATABASE %I SET timezone = ''Asia/Tokyo''; ALTER DATABASE %I SET bytea_output = escape', d, d, d) FROM current_database() d",
}

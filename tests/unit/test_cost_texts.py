"""What a statement's text tells: its lock, the names in it, and what the lint reads of what was sent."""

from __future__ import annotations

import pytest

from lockkeeper.costs.texts import lock_by_text, name_parts
from lockkeeper.proving.linting import _statement


@pytest.mark.parametrize(
    ("statement", "lock"),
    [
        ("ALTER TABLE users ADD c int", ("users", "AccessExclusiveLock")),
        ("alter table if exists only public.users add c int", ("public.users", "AccessExclusiveLock")),
        ('/* x */ ALTER TABLE "My ""S"."T" ADD c int', ('"My ""S"."T"', "AccessExclusiveLock")),
        ("ALTER TABLE users VALIDATE CONSTRAINT c", ("users", "ShareUpdateExclusiveLock")),
        ("CREATE UNIQUE INDEX IF NOT EXISTS i ON ONLY users (a)", ("users", "ShareLock")),
        ("CREATE INDEX CONCURRENTLY i ON users (a)", None),
        ("DROP INDEX IF EXISTS i", ("i", "AccessExclusiveLock")),
        ("TRUNCATE users", ("users", "AccessExclusiveLock")),
        ("VACUUM FULL users", ("users", "AccessExclusiveLock")),
        ("VACUUM (FULL) users", ("users", "AccessExclusiveLock")),
        ("VACUUM users", None),
        ("CREATE TRIGGER t BEFORE UPDATE ON users EXECUTE FUNCTION f()", ("users", "ShareRowExclusiveLock")),
        ("ALTER TYPE mood ADD VALUE 'new'", None),
        ("SELECT 1", None),
    ],
)
def test_the_lock_of_a_statement_is_known_by_its_text(statement, lock) -> None:
    assert lock_by_text(statement) == lock


def test_a_name_as_written_is_the_catalogues() -> None:
    assert name_parts('Public."T ""x"" y"') == ("public", 'T "x" y')


def test_what_was_sent_is_read_as_sql() -> None:
    sent = {"text": "UPDATE t SET a = %(a)s WHERE b LIKE '50%%'", "in_transaction": True}
    assert _statement(sent).text == "UPDATE t SET a = $1 WHERE b LIKE '50%'"

"""What can be told of a statement from its text: only enough to be on the safe side."""

import re

_QUOTED = re.compile(r"\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
_ENDS_TRANSACTION = re.compile(
    r"(?:^|;)\s*(?:COMMIT|END|ABORT|PREPARE\s+TRANSACTION|ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO\b))\b",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r"^\s*(?:SET|RESET|SHOW|BEGIN|COMMIT|ROLLBACK|START)\b", re.IGNORECASE)
_ATOMIC = re.compile(
    r"^\s*(?:ALTER|CREATE|DROP|COMMENT|GRANT|REVOKE|TRUNCATE|INSERT|UPDATE|DELETE|WITH|SELECT)\b",
    re.IGNORECASE,
)
_CONCURRENTLY = re.compile(r"\bCONCURRENTLY\b", re.IGNORECASE)
_WRITES_NO_ROW = re.compile(
    r"^\s*(?:CREATE\s+(?:UNIQUE\s+)?INDEX|DROP\s+INDEX|REINDEX|VACUUM|ANALYZE|COMMENT|ALTER\s+TYPE"
    r"|ALTER\s+TABLE\s.*\sVALIDATE\s+CONSTRAINT)\b",
    re.IGNORECASE | re.DOTALL,
)
_PLAIN_DML = re.compile(r"^\s*(?:SELECT|INSERT|UPDATE|DELETE|MERGE|VALUES)\b", re.IGNORECASE)
_DDL = re.compile(r"^\s*(?:CREATE|ALTER|DROP|COMMENT|GRANT|REVOKE|LOCK)\b", re.IGNORECASE)


def _bare(statement: str) -> str:
    """The text without comments, strings and function bodies."""
    return _QUOTED.sub(" ", statement)


def ends_transaction(statement: str) -> bool:
    """Whether the text itself commits or rolls back, as ``op.execute("COMMIT")`` does."""
    return bool(_ENDS_TRANSACTION.search(_bare(statement)))


def is_harmless(statement: str) -> bool:
    """Whether the statement certainly changes no data and no schema."""
    bare = _bare(statement).strip().rstrip(";")
    return ";" not in bare and bool(_HARMLESS.match(bare))


def undone_on_error(statement: str) -> bool:
    """Whether the statement, outside of any transaction, leaves nothing behind when it fails.

    CREATE INDEX CONCURRENTLY and its like leave an invalid index; CALL and DO may have committed.
    """
    bare = _bare(statement).strip().rstrip(";")
    return ";" not in bare and bool(_ATOMIC.match(bare)) and not _CONCURRENTLY.search(bare)


def writes_no_row(statement: str) -> bool:
    """Whether the statement certainly leaves every row of every table as it is."""
    bare = _bare(statement).strip().rstrip(";")
    return ";" not in bare and bool(_WRITES_NO_ROW.match(bare))


def is_plain_dml(statement: str) -> bool:
    """Whether the text is one statement on rows, which by itself takes no strong lock on a table."""
    bare = _bare(statement).strip().rstrip(";")
    return ";" not in bare and bool(_PLAIN_DML.match(bare))


def is_ddl(statement: str) -> bool:
    """Whether the statement is one that a read-only transaction refuses and that returns no row."""
    return bool(_DDL.match(_bare(statement)))

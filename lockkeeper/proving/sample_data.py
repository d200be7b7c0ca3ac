"""SQL files that a test begins with: the schema that the first revision finds, and rows to test with.

Rows fit after the revision that is named, else after the first one after which the whole file can be
loaded. A file that does not fit yet is rolled back as a whole and leaves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from lockkeeper.errors import ConfigurationError, ConnectionLostError, DatabaseError
from lockkeeper.postgres.connection import connect, execute

FILE_NAME = "sample_data.sql"
BASELINE_NAME = "baseline.sql"
_PSQL_COMMAND = "\\"
_GUARDS = ("\\restrict ", "\\unrestrict ")
# Syntax errors or access rule violations, among them undefined tables; constraints that are not met.
_DOES_NOT_FIT = ("42", "3F", "23")
_SYNTAX_ERROR = "42601"


@dataclass
class SampleData:
    """A SQL file, and where it was (or is to be) loaded.

    Attributes:
        file: SQL text; psql's own commands are refused.
        after: the revision after which it is loaded; None until that is known.
        misfit: why it could not be loaded after the latest revision.
    """

    file: Path
    after: str | None = None
    misfit: str | None = None

    def __post_init__(self) -> None:
        self._text = _sql(self.file, "sample data", "--data-only --inserts")

    def load(self, url: URL, revision: str) -> bool:
        """Load the file if it belongs after ``revision``; returns whether it was loaded.

        Raises:
            DatabaseError: it was to be loaded here, or is wrong wherever it is loaded.
        """
        if self.after not in (None, revision):
            return False
        try:
            with connect(url, "sample-data", autocommit=False) as connection:
                execute(connection, self._text)
                connection.commit()
        except DatabaseError as error:
            state = error.sqlstate or ""
            if self.after is not None or state == _SYNTAX_ERROR or not state.startswith(_DOES_NOT_FIT):
                raise type(error)(f"The sample data {self.file}: {error}", error.sqlstate) from error
            self.misfit = str(error)
            return False
        self.after, self.misfit = revision, None
        return True


@dataclass(frozen=True)
class Baseline:
    """The schema that a project's first revision finds, as SQL: its history is older than its revisions.

    It may hold a version table with a revision in it; then the test begins there.
    """

    file: Path

    def load(self, url: URL) -> None:
        """Make the schema in an empty scratch database, in one transaction.

        Raises:
            ConfigurationError: the file cannot be read, has commands of psql, or fails.
        """
        text = _sql(self.file, "baseline", "--schema-only --no-owner --no-privileges")
        try:
            with connect(url, "baseline", autocommit=False) as connection:
                execute(connection, text)
                connection.commit()
        except ConnectionLostError:
            raise
        except DatabaseError as error:
            raise ConfigurationError(f"The baseline {self.file} fails: {error}") from error


def _sql(file: Path, what: str, dump: str) -> str:
    """Read a file of plain SQL; pg_dump's own guards against tampering are left out."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The {what} {file} cannot be read: {error}") from error
    lines = [line for line in lines if not line.startswith(_GUARDS)]
    commands = [line for line in lines if line.startswith(_PSQL_COMMAND)]
    if commands:
        raise ConfigurationError(
            f"The {what} {file} has commands of psql ({commands[0][:40].strip()}): only SQL can be loaded. "
            f"Make it with pg_dump {dump}."
        )
    return "".join(lines)


def beside(config_file: Path) -> Path | None:
    """Return the project's own ``sample_data.sql``, which lies beside its configuration, if there is one."""
    file = config_file.parent / FILE_NAME
    return file if file.is_file() else None


def baseline_beside(config_file: Path) -> Path | None:
    """Return the project's own ``baseline.sql``, which lies beside its configuration, if there is one."""
    file = config_file.parent / BASELINE_NAME
    return file if file.is_file() else None

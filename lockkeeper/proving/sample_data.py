"""Rows to test with: a SQL file, loaded where it fits.

Where that is: after the revision that is named, else after the first one after which the whole file can be
loaded. A file that does not fit yet is rolled back as a whole and leaves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from lockkeeper.errors import ConfigurationError, DatabaseError
from lockkeeper.postgres.connection import connect, execute

FILE_NAME = "sample_data.sql"
_PSQL_COMMAND = "\\"
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
        try:
            self._text = self.file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The sample data {self.file} cannot be read: {error}") from error
        commands = [line for line in self._text.splitlines() if line.startswith(_PSQL_COMMAND)]
        if commands:
            raise ConfigurationError(
                f"The sample data {self.file} has commands of psql ({commands[0][:40]}): only SQL can be "
                "loaded. Dump data with pg_dump --data-only --inserts."
            )

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


def beside(config_file: Path) -> Path | None:
    """Return the project's own ``sample_data.sql``, which lies beside its configuration, if there is one."""
    file = config_file.parent / FILE_NAME
    return file if file.is_file() else None

"""What is asked for: one column of one table under a new name, of a new type, or both."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lockkeeper.errors import ConfigurationError
from lockkeeper.online import ddl

Conflict = Literal["refuse", "new", "old"]
RETENTION_S = 7 * 86_400
HIDDEN = "lockkeeper_old"
"""Ends the name of a column that is out of the application's sight, and still kept."""
CARRIED = "lockkeeper_new"
"""Ends the names of what a column that keeps its name has a second time, until the old one is dropped."""


@dataclass(frozen=True)
class ColumnChange:
    """A column's change. ``(table, old, new)`` identifies it: asked again, its ledger entry goes on.

    Attributes:
        table: ``products`` or ``shop.products``; without a schema the search_path decides once, at the start.
        old: the column.
        new: its name at the end; the same as ``old`` for a mere change of type, whose switch is the contract.
        new_type: SQL type at the end; None keeps the old one.
        up: SQL expression of the new value over the old column's name; None casts.
        down: SQL expression of the old value over the new column's name; None casts.
        conflict: what becomes of one statement that sets both columns, differently.
        retention_s: how long the old column is kept in quarantine after the contract, still written.
    """

    table: str
    old: str
    new: str
    new_type: str | None = None
    up: str | None = None
    down: str | None = None
    conflict: Conflict = "refuse"
    retention_s: int = RETENTION_S

    def __post_init__(self) -> None:
        if not (self.table and self.old and self.new):
            raise ConfigurationError("A column's change needs a table, the old column and the new one.")
        if self.old == self.new and self.new_type is None:
            raise ConfigurationError(f"{self.table}.{self.old} has that name already; give a type to change.")
        if (self.up is None) != (self.down is None):
            raise ConfigurationError(
                "`up` and `down` belong together: old and new versions of the application both write."
            )
        if self.conflict not in ("refuse", "new", "old"):
            raise ConfigurationError(f"conflict is 'refuse', 'new' or 'old', not {self.conflict!r}.")
        if self.retention_s < 0:
            raise ConfigurationError("retention_s must not be negative.")

    @property
    def schema_name(self) -> str | None:
        """The schema that was given, if one was."""
        schema, dot, _ = self.table.rpartition(".")
        return schema if dot else None

    @property
    def table_name(self) -> str:
        """The table's name alone."""
        return self.table.rpartition(".")[2]

    @property
    def keeps_name(self) -> bool:
        """Whether the column changes its type only."""
        return self.old == self.new

    @property
    def is_plain(self) -> bool:
        """Whether values are the same under both names."""
        return self.new_type is None and self.up is None

    @property
    def working_name(self) -> str:
        """The new column's name until the contract."""
        return ddl.derived_name(self.old, CARRIED) if self.keeps_name else self.new

    @property
    def hidden_name(self) -> str:
        """The old column's name in a scream test and in quarantine."""
        return ddl.derived_name(self.old, HIDDEN)

    @property
    def type_as_asked(self) -> str | None:
        """The new type, however it is spelt, unless a name in it is quoted."""
        if self.new_type is None or '"' in self.new_type:
            return self.new_type
        return "".join(self.new_type.casefold().split())

    @property
    def subject(self) -> str:
        """The change in words."""
        kind = f" as {self.new_type}" if self.new_type else ""
        return f"{self.table}.{self.old} -> {self.new}{kind}"

    def terms(self) -> dict[str, Any]:
        """All fields, JSON-able: what the ledger keeps."""
        return asdict(self)

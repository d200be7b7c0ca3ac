"""The trigger that keeps two columns in step, whoever writes them: SQL text only.

It fires where the columns differ after the statement, which is a comparison and no function call: not for a
backfilled row, not for an application that writes both, not for an update of other columns of a row in step.
Which of the two was meant is told by what has changed, and on INSERT by what differs from the default, so
that a default on both columns is no write of either. Enabled ALWAYS: replication and
``session_replication_role = replica`` fire it too. Names are qualified, the search_path is pinned,
expressions are parsed when the functions are made (PostgreSQL 14 and later), so pg_restore and other
sessions' settings
change nothing. It comes last of the table's BEFORE triggers by its name: it sees what the others have
changed.
"""

from __future__ import annotations

from dataclasses import dataclass

from lockkeeper.online.ddl import literal, quote
from lockkeeper.rename.change import Conflict

SCHEMA = "lockkeeper"
# Types whose "=" is identity. Of others (numeric, citext, jsonb, float8, ...) equal values may differ in what
# they show, and a few have no "=" at all: their images are compared.
_EQUAL_IS_SAME = frozenset(
    {
        "smallint", "integer", "bigint", "oid", "boolean", "uuid", "date", "bytea", "text",
        "character varying",
        "timestamp without time zone", "timestamp with time zone",
    }
)  # fmt: skip


def differs(one: str, other: str, base_type: str, deterministic: bool = True) -> str:
    """Return SQL that is true where two values of one type are not the very same; NULL is like NULL."""
    if base_type in _EQUAL_IS_SAME and deterministic:
        return f"({one} IS DISTINCT FROM {other})"
    # As a function: between two ROWs an operator would be one between their fields.
    return f"pg_catalog.record_image_ne(ROW({one}), ROW({other}))"


@dataclass(frozen=True)
class DualWrite:
    """Everything that the functions and the trigger are made of.

    ``old`` and ``new`` are the columns' present names; ``old_param`` and ``new_param`` the names that the
    expressions use.
    """

    number: int
    table: str
    old: str
    new: str
    old_param: str
    new_param: str
    old_type: str
    new_type: str
    old_base: str
    new_base: str
    deterministic: bool
    up: str | None
    down: str | None
    default: str | None
    default_varies: bool
    conflict: Conflict
    quarantined: bool = False

    @property
    def plain(self) -> bool:
        """Whether values are the same on both sides."""
        return self.up is None and self.old_type == self.new_type

    def name(self, part: str) -> str:
        """Return the name of one of the functions."""
        return f"{SCHEMA}.change_{self.number}_{part}"

    @property
    def trigger(self) -> str:
        """The trigger's name: the last of all in the order that BEFORE triggers fire in."""
        return f"zzz_lockkeeper_{self.number}"

    def raised(self, value: str) -> str:
        """Return the new column's value for an old one."""
        return value if self.plain else f"{self.name('up')}({value})"

    def lowered(self, value: str) -> str:
        """Return the old column's value for a new one."""
        return value if self.plain else f"{self.name('down')}({value})"

    def new_differs(self, one: str, other: str) -> str:
        """Return SQL that compares two values of the new column."""
        return differs(one, other, self.new_base, self.deterministic)

    def old_differs(self, one: str, other: str) -> str:
        """Return SQL that compares two values of the old column."""
        return differs(one, other, self.old_base, self.deterministic)

    @property
    def out_of_step(self) -> str:
        """SQL that is true for a row whose columns contradict, either way round."""
        old, new = quote(self.old), quote(self.new)
        contradict = self.new_differs(new, self.raised(old))
        if self.plain:
            return contradict
        # What a new version wrote may not survive the way down and up again; then the way down is the proof.
        return f"({contradict} AND ({new} IS NULL OR {self.old_differs(old, self.lowered(new))}))"

    @property
    def not_filled(self) -> str:
        """SQL that is true for a row that the backfill has to write; cheap, since it is asked of each."""
        return f"{quote(self.new)} IS NULL AND {quote(self.old)} IS NOT NULL"

    def expressions(self) -> list[str]:
        """Return the functions that convert values; an expression that is wrong is refused here."""
        made = []
        if not self.plain:
            up = self.up or f"CAST({quote(self.old_param)} AS {self.new_type})"
            down = self.down or f"CAST({quote(self.new_param)} AS {self.old_type})"
            made += [
                self._expression("up", f"{quote(self.old_param)} {self.old_type}", self.new_type, up),
                self._expression("down", f"{quote(self.new_param)} {self.new_type}", self.old_type, down),
            ]
        if self.default is not None and not self.default_varies:
            made.append(self._expression("default", "", self.old_type, self.default))
        return made

    def _expression(self, part: str, parameter: str, result: str, expression: str) -> str:
        return (
            f"CREATE OR REPLACE FUNCTION {self.name(part)}({parameter}) RETURNS {result} "
            f"LANGUAGE sql RETURN ({expression})"
        )

    def function(self) -> str:
        """Return the trigger's function, for the columns' present names."""
        tag = "$lockkeeper$"
        return (
            f"CREATE OR REPLACE FUNCTION {self.name('sync')}() RETURNS trigger LANGUAGE plpgsql "
            f"SET search_path = pg_catalog, pg_temp AS {tag}\nBEGIN\n{self._body()}\nEND\n{tag}"
        )

    def _body(self) -> str:
        old, new = f"NEW.{quote(self.old)}", f"NEW.{quote(self.new)}"
        was_old, was_new = f"OLD.{quote(self.old)}", f"OLD.{quote(self.new)}"
        up, down = f"    {new} := {self.raised(old)};", self._down(old, new)
        return "\n".join(
            [
                "  IF TG_OP = 'INSERT' THEN",
                f"   IF {self._unnamed_new(new)} THEN", up,
                f"   ELSIF {self._unnamed_old(old)} THEN", down,
                "   ELSE", self._conflict(up, down, old, new), "   END IF;",
                f"  ELSIF {self.old_differs(old, was_old)} THEN",
                f"   IF {self.new_differs(new, was_new)} THEN", self._conflict(up, down, old, new),
                "   ELSE", up, "   END IF;",
                f"  ELSIF {self.new_differs(new, was_new)} THEN", down,
                f"  ELSIF {new} IS NULL THEN", up, "  END IF;",
                "  RETURN NEW;",
            ]
        )  # fmt: skip

    def _down(self, old: str, new: str) -> str:
        """Return the way down; in quarantine a value that the old type cannot hold must not stop a write."""
        plainly = f"    {old} := {self.lowered(new)};"
        if not self.quarantined or self.plain:
            return plainly
        return f"    BEGIN\n {plainly}\n    EXCEPTION WHEN data_exception THEN {old} := NULL;\n    END;"

    def _unnamed_new(self, new: str) -> str:
        if self.default is None or self.default_varies:
            return f"{new} IS NULL"
        return f"NOT {self.new_differs(new, self.raised(self.name('default') + '()'))}"

    def _unnamed_old(self, old: str) -> str:
        if self.default_varies:  # its value tells nothing: an INSERT that sets the new column means that
            return "true"
        if self.default is None:
            return f"{old} IS NULL"
        return f"NOT {self.old_differs(old, self.name('default') + '()')}"

    def _conflict(self, up: str, down: str, old: str, new: str) -> str:
        if self.conflict != "refuse":
            return up if self.conflict == "old" else down
        message = literal(
            f"{self.table}: {self.old} and {self.new} are one column under two names, and a statement gave "
            "them two values"
        )
        refuse = f"    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = {message};"
        if self.plain:
            return refuse
        return f"    IF {self.old_differs(old, self.lowered(new))} THEN\n {refuse}\n    END IF;"

    def triggers(self, tables: list[str]) -> list[str]:
        """Return the statements that make the trigger on the table and on each that inherits from it."""
        condition = self.new_differs(f"NEW.{quote(self.new)}", self.raised(f"NEW.{quote(self.old)}"))
        made = []
        for table in tables:
            made += [
                f"CREATE TRIGGER {self.trigger} BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW "
                f"WHEN ({condition}) EXECUTE FUNCTION {self.name('sync')}()",
            ]
        return made

    def enable(self, tables: list[str]) -> list[str]:
        """Return the statements that make it fire for replicated writes too, partitions included."""
        return [f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {self.trigger}" for table in tables]

    def drops(self, tables: list[str]) -> list[str]:
        """Return the statements that leave nothing of it."""
        return [f"DROP TRIGGER IF EXISTS {self.trigger} ON {table}" for table in tables] + [
            f"DROP FUNCTION IF EXISTS {self.name('sync')}()",
            f"DROP FUNCTION IF EXISTS {self.name('up')}({self.old_type})",
            f"DROP FUNCTION IF EXISTS {self.name('down')}({self.new_type})",
            f"DROP FUNCTION IF EXISTS {self.name('default')}()",
        ]

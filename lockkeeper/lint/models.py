"""What the lint is given and what it says."""

from __future__ import annotations

from enum import Enum

from pydantic import Field

from lockkeeper.models import Fact

TINY_TABLE_ROWS = 10_000
"""A table of so few rows is read, rewritten or indexed in some milliseconds."""


class Severity(str, Enum):
    """An error blocks or breaks the running application, or loses data. What was not read is no pass."""

    ERROR = "error"
    WARNING = "warning"
    UNKNOWN = "could not check"


class SqlStatement(Fact):
    """Text that a revision sends: one statement or several.

    ``in_transaction`` says whether it begins inside a transaction (Alembic's transactional DDL) or in
    autocommit; BEGIN and COMMIT in the text are followed from there.
    """

    text: str
    revision: str | None = None
    in_transaction: bool = True


class ColumnFacts(Fact):
    """What is known of an existing column; ``type`` as ``format_type`` writes it."""

    type: str
    not_null: bool = False


class IndexFacts(Fact):
    """What is known of an existing index; ``columns`` without expressions, in their order."""

    table: str
    columns: tuple[str, ...] = ()
    partitioned: bool = False


class LintContext(Fact):
    """What is known of the database that the migration is for. Nothing of it is required.

    Tables are named as SQL would: ``users``, ``public.users`` or ``"My Schema"."T"``.
    """

    default_schema: str = "public"
    version_table: str = "alembic_version"
    row_estimates: dict[str, int] = Field(default_factory=dict, description="table -> rows")
    tiny_table_rows: int = TINY_TABLE_ROWS
    columns: dict[str, dict[str, ColumnFacts]] = Field(default_factory=dict)
    validated_checks: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="table -> expressions of its validated CHECK constraints"
    )
    indexes: dict[str, IndexFacts] = Field(default_factory=dict)
    default_partitions: dict[str, str] = Field(
        default_factory=dict, description="partitioned table -> its DEFAULT partition, empty when it has none"
    )
    tables_with_policies: tuple[str, ...] = Field(
        default=(), description="Tables with row security policies."
    )
    constrained_domains: tuple[str, ...] = Field(default=(), description="Domains that have constraints.")
    sources: dict[str, str] = Field(
        default_factory=dict, description="revision -> its Python source, read for exemptions"
    )


class Exemption(Fact):
    """``lockkeeper: allow RULE because REASON``, and whether anything needed it."""

    rule: str
    reason: str
    revision: str | None = None
    whole_revision: bool = False
    used: bool = False


class LintFinding(Fact):
    """One statement judged; with ``allowed_because`` somebody has taken it upon themselves."""

    rule: str
    severity: Severity
    revision: str | None = None
    statement: str = Field(default="", description="Shortened; redacted.")
    message: str = Field(description="Which lock or danger, on what, and why.")
    advice: str = Field(default="", description="The safe form, with the user's own names.")
    allowed_because: str | None = None
    source: str = Field(default="lockkeeper", description="lockkeeper or squawk")

    @property
    def counts(self) -> bool:
        """Whether it makes a migration dangerous: an error, or not checked, and not allowed."""
        return self.severity is not Severity.WARNING and self.allowed_because is None


class LintReport(Fact):
    """All that was found, and what was looked at."""

    findings: tuple[LintFinding, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    revisions: tuple[str, ...] = ()
    statements: int = 0

    @property
    def dangerous(self) -> bool:
        """Whether an error stands that nobody has allowed."""
        return any(each.counts and each.severity is Severity.ERROR for each in self.findings)

    @property
    def unknown(self) -> bool:
        """Whether something could not be checked."""
        return any(each.counts and each.severity is Severity.UNKNOWN for each in self.findings)

    @property
    def exit_code(self) -> int:
        """0 clean (warnings allowed), 1 findings, 2 could not check."""
        if self.dangerous:
            return 1
        return 2 if self.unknown else 0

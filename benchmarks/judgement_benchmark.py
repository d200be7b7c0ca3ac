"""Judges statements that other tools' documentation judges, by lint and measurement together.

Each is an Alembic revision, applied to a fresh copy of a database with rows enough that what reads or
rewrites a table is seen to; then the lint's findings and the measured locks are put together as a rehearsal
does it. Whatever counts there, or fails, is "dangerous".

    python -m benchmarks.judgement_benchmark            # all of benchmarks/judged_statements.py
    python -m benchmarks.judgement_benchmark --set 2  # judged_later; 3: judged_last, 4: judged_afresh,
                                                      # 5: judged_unsafe_ddl
    python -m benchmarks.judgement_benchmark --only "drop index" truncate
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from psycopg2 import sql
from sqlalchemy.engine import URL

from benchmarks.judged_afresh import JUDGED_AFRESH
from benchmarks.judged_last import JUDGED_LAST
from benchmarks.judged_later import JUDGED_LATER
from benchmarks.judged_statements import JUDGED, SCHEMA, Judged
from benchmarks.judged_unsafe_ddl import JUDGED_UNSAFE_DDL
from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import AlembicSettings, Policies
from lockkeeper.costs import CostMeter
from lockkeeper.errors import MigrationError
from lockkeeper.lint import read_context
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.measured import RevisionEstimate
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.proving.linting import lint_rehearsed
from lockkeeper.risk import judge

BAR = 0.95
SETS = (JUDGED, JUDGED_LATER, JUDGED_LAST, JUDGED_AFRESH, JUDGED_UNSAFE_DDL)
COPY = "CREATE DATABASE {} TEMPLATE original STRATEGY file_copy"
ENV = """from alembic import context
from sqlalchemy import create_engine, pool

url = context.config.get_main_option("sqlalchemy.url")
if context.is_offline_mode():
    context.configure(url=url, literal_binds=True, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
"""
INI = """[alembic]
script_location = %(here)s/scripts
sqlalchemy.url = postgresql+psycopg2://nobody@localhost/nothing
"""


def write_project(folder: Path, one: Judged) -> AlembicSettings:
    """Write a project of one revision that sends the statements."""
    versions = folder / "scripts" / "versions"
    versions.mkdir(parents=True)
    (folder / "scripts" / "env.py").write_text(ENV)
    (folder / "alembic.ini").write_text(INI)
    sent = [f"op.execute({statement!r})" for statement in one.sql]
    head, margin = ("    with op.get_context().autocommit_block():\n", 8) if one.outside else ("", 4)
    body = head + "\n".join(" " * margin + line for line in sent)
    (versions / "r1.py").write_text(
        f'from alembic import op\n\nrevision = "r1"\ndown_revision = None\n\n\ndef upgrade():\n{body}\n'
        "\n\ndef downgrade():\n    pass\n"
    )
    return AlembicSettings(config_file=folder / "alembic.ini")


def reasons(one: Judged, folder: Path, url: URL, policies: Policies) -> list[str]:
    """Say what a rehearsal would have against the revision; empty when nothing."""
    settings = write_project(folder, one)
    with (
        connect(url, "benchmark") as connection,
        AlembicSession(settings, url, role="migrate", run_id="judge", policies=policies) as session,
    ):
        plan = session.plan("head")
        session.prepare()
        session.meter, session.recorded = CostMeter(url, "judge"), {}
        context, version = read_context(connection), connection.server_version
        try:
            timing, _ = session.take(plan.steps[0], ())
        except MigrationError as error:
            return [f"it fails: {str(error).splitlines()[0]}"]
        lint = lint_rehearsed(settings, url, plan, context, version, session.recorded)
    estimate = RevisionEstimate(revision="r1", duration_s=timing.duration_s, cost=timing.cost)
    risk = judge([estimate], policies, lint)
    if lint.missing:
        raise SystemExit(lint.missing)
    return [finding.message for finding in risk.counting]


def judged(cases: list[Judged], rows: int, policies: Policies, major: int) -> list[tuple[Judged, list[str]]]:
    """Judge each on its own copy of the database."""
    found = []
    with tempfile.TemporaryDirectory(prefix="lockkeeper-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with temporary_postgres(folder, major=major) as server, connect(server.url(), "admin") as admin:
            execute(admin, "CREATE DATABASE original")
            with connect(server.url("original"), "benchmark") as connection:
                execute(connection, SCHEMA.replace("{rows}", str(rows)))
                execute(connection, "VACUUM ANALYZE")
            for number, one in enumerate(cases):
                copy = sql.Identifier(f"copy_{number}")
                execute(admin, sql.SQL(COPY).format(copy))
                url = server.url(f"copy_{number}")
                found.append((one, reasons(one, folder / f"project_{number}", url, policies)))
                execute(admin, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(copy))
    return found


def main() -> None:
    """Judge, tell what differs from the documentation, compare with the bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", metavar="NAME", help="of the set")
    parser.add_argument("--set", type=int, choices=range(1, len(SETS) + 1), default=1)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the larger tables")
    parser.add_argument("--budget-ms", type=int, default=100, help="for a lock that others wait for")
    parser.add_argument("--major", type=int, default=16)
    parser.add_argument("--verbose", action="store_true", help="also why the others were called dangerous")
    arguments = parser.parse_args()
    written = SETS[arguments.set - 1]
    cases = [one for one in written if not arguments.only or one.name in arguments.only]
    policies = Policies(max_block_ms=arguments.budget_ms)
    results = judged(cases, arguments.rows, policies, arguments.major)
    wrong = [(one, why) for one, why in results if bool(why) is not one.dangerous]
    for one, why in results if arguments.verbose else wrong:
        told = "dangerous" if one.dangerous else "safe"
        print(f"{one.name} ({one.source}) is {told} by its documentation; ours: {'; '.join(why) or 'safe'}")
    share = 1 - len(wrong) / len(results)
    verdict = "met" if share >= BAR else "MISSED"
    print(f"{len(results) - len(wrong)} of {len(results)} as the documentation has it")
    print(f"bar: at least {BAR:.0%}: {share:.1%}, {verdict}")
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

"""Runs ``lockkeeper test`` on the unchanged Alembic histories of public packages, and tells what it found.

A package is installed with uv into an environment of its own below --cache. Each revision goes up, down and
up again on a scratch server; the table shows version, revisions, findings and time. With --confirm plain
Alembic and pg_dump go the same way, and every finding is held against what they show.

    python -m benchmarks.history_benchmark optuna mlflow
    python -m benchmarks.history_benchmark --confirm --json results.json     # all of them
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy.engine import URL, make_url

from benchmarks.confirmation import IN_ONE_GO, LEFT, compare
from benchmarks.held_out_histories import HELD_OUT
from benchmarks.histories import HISTORIES, History
from benchmarks.plain_alembic import OneGoOpinion, SecondOpinion
from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import AlembicSettings
from lockkeeper.errors import LockkeeperError
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.models import Revision
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.databases import create_scratch, drop_database
from lockkeeper.proving import MigrationTestReport, ProofState, run_migration_test
from lockkeeper.proving.reports import check_lines, proof_lines, summary

KNOWN = HISTORIES | HELD_OUT
PYTHON = "3.11"
INI = """[alembic]
script_location = {scripts}
version_locations = {versions}
path_separator = os
version_path_separator = os

[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = WARNING
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain
[formatter_plain]
format = %%(message)s
"""
ENV = """import runpy
from alembic import context
config = context.config
URL = config.get_main_option("sqlalchemy.url")
ENV_PY = {env_py!r}
{prelude}
{run}
{closing}
"""


def install(name: str, history: History, cache: Path) -> Path:
    """Install the package unless it is there; returns its environment's interpreter."""
    folder = cache / name
    python = folder / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        subprocess.run([uv, "venv", "--quiet", "--python", PYTHON, folder], check=True)
        command = [uv, "pip", "install", "--quiet", "--python", python, *history.requirements]
        subprocess.run(command, check=True)
    return python


def ask(python: Path, program: str) -> str:
    """Run a short program in the package's environment."""
    return subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def settings(name: str, history: History, python: Path, folder: Path) -> AlembicSettings:
    """Write an alembic.ini for the installed history, and an env.py where its own needs a prelude."""
    site = Path(ask(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    scripts = site / history.scripts
    found = [path for glob in history.versions or ("versions",) for path in sorted(scripts.glob(glob))]
    project = folder / name
    project.mkdir()
    used = scripts
    if history.prelude or history.closing:
        used = project
        own = str(scripts / "env.py")
        text = ENV.format(prelude=history.prelude, env_py=own, run=history.run, closing=history.closing)
        (project / "env.py").write_text(text)
    ini = INI.format(scripts=used, versions=os.pathsep.join(map(str, found)))
    (project / "alembic.ini").write_text(ini)
    environment = {key: SecretStr(value) for key, value in history.environment.items()}
    return AlembicSettings(
        config_file=project / "alembic.ini",
        python=python,
        url_env=history.url_env,
        driver=history.driver,
        environment=environment,
    )


def prove(name: str, cache: Path, folder: Path, server: URL, confirm: bool) -> dict[str, Any]:
    """Prove one history, and confirm it; returns the facts for the table."""
    history = KNOWN[name]
    python = install(name, history, cache)
    package = re.split(r"[<>=\[]", history.requirements[0])[0]
    version = ask(python, f"from importlib.metadata import version; print(version({package!r}))")
    facts: dict[str, Any] = {"name": name, "package": package, "version": version}
    started = time.monotonic()
    project = settings(name, history, python, folder)
    try:
        report = run_migration_test(
            project,
            server,
            announce=lambda text: print(f"  {text}", file=sys.stderr, flush=True),
        )
    except LockkeeperError as error:
        return facts | {"error": str(error), "seconds": time.monotonic() - started}
    return facts | told(report) | (confirmed(project, server, report) if confirm else {})


def confirmed(project: AlembicSettings, server: URL, report: MigrationTestReport) -> dict[str, Any]:
    """Ask plain Alembic and pg_dump for what they show of the same revisions."""
    started = time.monotonic()
    steps = {one.id: one for one in revisions_of(project, server)}
    reached = [steps[proof.revision] for proof in report.proofs if proof.state is not ProofState.UNKNOWN]
    asked = [
        proof.revision for proof in report.proofs if any(one.kind in IN_ONE_GO for one in proof.findings)
    ]
    all_the_way = all(proof.upgrade_s is not None for proof in report.proofs)
    # A process of some packages takes ten seconds to start; what a downgrade leaves it leaves in any process.
    flawed = {
        proof.revision for proof in report.proofs if any(one.kind not in LEFT for one in proof.findings)
    }
    with SecondOpinion(project, server, "second_opinion") as plain:
        opinions = {}
        for number, (revision, opinion) in enumerate(plain.opinions(reached, flawed), 1):
            print(f"  plain Alembic: {number} of {len(reached)}", file=sys.stderr, flush=True)
            opinions[revision] = opinion
        in_one_go = plain.in_one_go(reached, asked) if all_the_way else OneGoOpinion()
    seconds = time.monotonic() - started
    return {"plain": asdict(compare(report.proofs, opinions, in_one_go)), "plain_seconds": seconds}


def revisions_of(project: AlembicSettings, server: URL) -> tuple[Revision, ...]:
    """Read the project's revisions, after env.py has made what they import, and tables that it looks at."""
    with connect(server, "second-opinion") as connection:
        name = create_scratch(connection, "revisions", "read", run_id=None, reason="a benchmark")
    try:
        with AlembicSession(project, server.set(database=name), role="migrate") as session:
            session.prepare()
            return session.history()
    finally:
        with connect(server, "second-opinion") as connection:
            drop_database(connection, name)


def told(report: MigrationTestReport) -> dict[str, Any]:
    """What the report says, in short and in full."""
    kinds = Counter(one.kind.value for proof in report.proofs for one in proof.findings)
    return {
        "revisions": len(report.proofs),
        "tested": report.tested,
        "states": dict(Counter(proof.state.value for proof in report.proofs)),
        "findings": dict(kinds),
        "seconds": report.duration_s,
        "summary": summary(report),
        "lines": {
            f"{proof.revision} {proof.message}": lines
            for proof in report.proofs
            if (lines := proof_lines(proof))
        },
        "checks": check_lines(report),
    }


def row(facts: dict[str, Any]) -> str:
    """Return one line of the table."""
    start = f"| {facts['package']} | {facts['version']} |"
    if "error" in facts:
        return f"{start} could not check: {facts['error'].splitlines()[0]} |"
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(facts["findings"].items())) or "none"
    unknown = facts["states"].get("could not check", 0)
    plain = facts.get("plain")
    said = "not asked" if plain is None else f"{plain['confirmed']} of {sum(facts['findings'].values())}"
    missed = "not asked" if plain is None else len(plain["missed"])
    return (
        f"{start} {facts['revisions']} | {facts['tested']} | {unknown} | {kinds} | {said} | {missed} "
        f"| {facts['seconds']:.0f} |"
    )


def proven(arguments: argparse.Namespace, folder: Path, url: URL) -> list[dict[str, Any]]:
    """Prove the histories that are asked for, and write down each as soon as it is done."""
    results: list[dict[str, Any]] = []
    for one in arguments.names or KNOWN:
        results.append(prove(one, arguments.cache, folder, url, arguments.confirm))
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))
    return results


def main() -> None:
    """Prove the named histories, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[[], *KNOWN], default=[])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "lockkeeper-histories")
    parser.add_argument("--server-url-env", help="variable with a server's URL; default: a server of our own")
    parser.add_argument("--major", type=int, default=16, help="of our own server")
    parser.add_argument("--confirm", action="store_true", help="hold it against plain Alembic and pg_dump")
    parser.add_argument("--json", type=Path, help="write everything there, too")
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="lockkeeper-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if arguments.server_url_env:
            url = make_url(os.environ[arguments.server_url_env])
            results = proven(arguments, folder, url)
        else:
            with temporary_postgres(folder, major=arguments.major) as server:
                results = proven(arguments, folder, server.url())
    print("| package | version | revisions | tested | could not check | findings | confirmed | missed | s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(map(row, results)))
    for facts in results:
        for kind in ("denied", "missed"):
            for text in facts.get("plain", {}).get(kind, ()):
                print(f"{facts['name']}: {kind}: {text}")


if __name__ == "__main__":
    main()

"""``python -m demo``: the whole way once, for real. Exit code 0 only when both runs went as they must."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from pydantic import SecretStr

from demo.databases import FIRST_REVISION, MIGRATIONS, contents, differences, make_database, row_counts
from demo.deployments import REPOSITORY, FinishedRun, run_deployment, save_and_deploy
from demo.story import Story
from lockkeeper.config import AlembicSettings, Policies, Target
from lockkeeper.errors import LockkeeperError
from lockkeeper.local.stack import DEFAULT_FOLDER, StackState, start_stack, stop_stack
from lockkeeper.models import Outcome
from lockkeeper.reports import format_duration

ALEMBIC_INI = MIGRATIONS / "alembic.ini"
DEFAULT_POLICIES = Policies()
FAULTY_INI = MIGRATIONS / "faulty" / "alembic.ini"
BUCKET = "lockkeeper-demo"


def main() -> int:
    """Play the demo or stop its servers; returns the exit code."""
    arguments = _parser().parse_args()
    story = Story()
    try:
        if arguments.stop:
            ended = stop_stack(arguments.folder) if (arguments.folder / "stack.json").exists() else []
            story.line(f"Stopped: {', '.join(ended) or 'nothing was running'}")
            return 0
        return play(arguments.folder, story)
    except LockkeeperError as error:
        story.line(str(error), "red")
        story.line(f"The servers' logs are in {arguments.folder}; `make demo-stop` ends them.")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where the stack lives")
    parser.add_argument("--stop", action="store_true", help="stop the stack instead")
    return parser


def play(folder: Path, story: Story) -> int:
    """Play both migrations; returns 0 when the first succeeded and the second was recovered."""
    began = time.monotonic()
    story.chapter("Servers, from wheels")
    with story.timed("started"):
        stack = start_stack(folder, prefect=True, working_dir=REPOSITORY, progress=story.line)
    story.chapter("Two databases of a shop, and how they are deployed")
    shop = _target(stack, "shop", ALEMBIC_INI)
    # A rehearsal would find what is wrong before production is touched; here the recovery is to be seen.
    faulty = _target(stack, "shop-faulty", FAULTY_INI, Policies(rehearsal="off"))
    _fill(stack, shop, FIRST_REVISION, story)
    _fill(stack, faulty, "head", story)
    with story.timed("targets saved, flows deployed"):
        save_and_deploy(stack, [shop, faulty])

    good = _migrate(stack, shop, story) and _recover(stack, faulty, story)
    story.chapter(f"Done in {format_duration(time.monotonic() - began)}" if good else "The demo failed")
    story.line(f"Prefect's UI: {stack.ui_url}   (runs, reports as artifacts, blocks)")
    story.line("`make demo-stop` ends the servers.")
    return 0 if good else 1


def _target(stack: StackState, name: str, alembic_ini: Path, policies: Policies = DEFAULT_POLICIES) -> Target:
    database = "demo_" + name.replace("-", "_")
    return Target(
        name=name,
        database_url=SecretStr(stack.database_url(database).render_as_string(hide_password=False)),
        alembic=AlembicSettings(config_file=alembic_ini, rules_dir=MIGRATIONS / "rules"),
        storage=stack.storage(BUCKET),
        policies=policies,
    )


def _fill(stack: StackState, target: Target, revision: str, story: Story) -> None:
    with story.timed(f"database {target.database} at {revision}"):
        url = make_database(stack.database_url(), target.database, ALEMBIC_INI, revision)
    story.line("  " + ", ".join(f"{rows:,} {table}" for table, rows in row_counts(url).items()), "dim")


def _migrate(stack: StackState, target: Target, story: Story) -> bool:
    story.chapter(f"production-migration of {target.name} to head, through its deployment")
    run = run_deployment(stack, target, "head", story.step)
    _conclude(run, story)
    return run.report.outcome is Outcome.SUCCEEDED and run.state_type == "COMPLETED"


def _recover(stack: StackState, target: Target, story: Story) -> bool:
    story.chapter(f"The same for {target.name}, without a rehearsal, and its migration damages the data")
    before = contents(target.url)
    run = run_deployment(stack, target, "head", story.step)
    _conclude(run, story)
    found = differences(before, contents(target.url))
    for difference in found:
        story.line(difference, "red")
    if not found:
        story.line("Checked once more from outside: schema and data are exactly as before.", "green")
    # Recovered or not, a migration that failed is a run that failed.
    return run.report.outcome is Outcome.RECOVERED and run.state_type == "FAILED" and not found


def _conclude(run: FinishedRun, story: Story) -> None:
    story.conclusion(run.report)
    story.line(f"In Prefect: {run.state_name}, {format_duration(run.waited_s)} after the order   {run.url}")


if __name__ == "__main__":
    sys.exit(main())

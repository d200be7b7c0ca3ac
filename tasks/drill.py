"""The newest verified backup brought back and timed, and the trend of all drills as an artifact."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from lockkeeper.drill import read_drills
from lockkeeper.drill.story import markdown_trend
from lockkeeper.models import DrillReport
from lockkeeper.storage import open_storage
from tasks.policies import once, repeatable
from tasks.runs import engine_of


@repeatable(name="drill")
def drill_backup(target: str, run_id: str) -> DrillReport:
    """Restore on the scratch server, compare, time; a failed try leaves nothing behind."""
    return engine_of(target, run_id).drill()


@once(name="publish-trend")
def publish_trend(target: str, run_id: str) -> None:
    """Publish the trend as ``drill-trend-<target>``; an API that does not answer costs a warning."""
    drills = read_drills(open_storage(engine_of(target, run_id).target.storage), target)
    try:
        said = "How long a recovery from storage would take, drill after drill."
        create_markdown_artifact(markdown_trend(drills), key=f"drill-trend-{target}", description=said)
    except Exception as error:
        get_run_logger().warning("The trend could not be published: %s", error)

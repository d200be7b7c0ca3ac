"""The story of every run as a Markdown artifact in Prefect's UI."""

from __future__ import annotations

from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.logging import get_run_logger

from lockkeeper.models import RunReport
from lockkeeper.reports import headline, markdown_report
from tasks.policies import once


def report_key(report: RunReport) -> str:
    """Return the artifact's key, e.g. ``migrate-report-shop``: one history for each target."""
    return f"{report.operation}-report-{report.target}"


def publish_refusal(operation: str, target: str, why: str) -> None:
    """Publish that a run could not be opened, where its report would be.

    The team is not told: its channel is part of the target. docs/operations.md names the automation for it.
    """
    subject = f"{operation} of {target}"
    text = (
        f"# {subject}: refused\n\n{why}\n\nNothing was touched. **No message was sent for this**: the team's "
        "channel is part of the target. Start it again when that is mended."
    )
    try:
        create_markdown_artifact(text, key=f"{operation}-report-{target}", description=f"{subject}: refused")
    except Exception as error:  # whatever the API's client raises, the run's state says it too
        get_run_logger().warning("The report could not be published: %s", error)


@once(name="report")
def publish_report(report: RunReport, page_place: str) -> None:
    """Publish the report, and where its page with pictures is.

    An API that does not answer costs a warning, never the run.
    """
    try:
        create_markdown_artifact(
            markdown_report(report), key=report_key(report), description=headline(report)
        )
        create_link_artifact(
            page_place if "://" in page_place else f"file://{page_place}",
            link_text=page_place,
            key=f"{report.operation}-pictures-{report.target}",
            description="The report with pictures, one HTML file. `lockkeeper report` fetches it.",
        )
    except Exception as error:
        get_run_logger().warning("The report could not be published: %s", error)

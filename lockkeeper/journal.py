"""The journal of runs, in the target's storage: outside the database, so that no restore takes it back.

``<target>/runs/<run id>.json`` is written after every step, so a run that was killed can be recognised:
its report has no outcome and nobody holds the lock. ``<target>/reports/<run id>.html`` tells the same with
pictures, once the run has ended.
"""

from __future__ import annotations

from pydantic import ValidationError

from lockkeeper.errors import StorageError
from lockkeeper.models import RunReport
from lockkeeper.storage import Storage


def _folder(target: str) -> str:
    return f"{target}/runs/"


def write_report(storage: Storage, report: RunReport) -> None:
    """Write or replace the report of one run; raises StorageError."""
    key = f"{_folder(report.target)}{report.run_id}.json"
    storage.put_bytes(key, report.model_dump_json(indent=1).encode())


def page_key(report: RunReport) -> str:
    """Return where the run's page with pictures is."""
    return f"{report.target}/reports/{report.run_id}.html"


def write_page(storage: Storage, report: RunReport) -> None:
    """Write or replace the page of a run that has ended; raises StorageError."""
    from lockkeeper.page import html_report  # charts and templates are only worth loading at a run's end

    storage.put_bytes(page_key(report), html_report(report).encode())


def read_report(storage: Storage, target: str, run_id: str) -> RunReport:
    """Return the report of one run; raises StorageError when there is none, or it cannot be read."""
    return _read(storage, f"{_folder(target)}{run_id}.json")


def read_reports(storage: Storage, target: str, *, newest: int = 20) -> list[RunReport]:
    """Return the newest reports of a target, newest first; raises StorageError for an unreadable one."""
    keys = sorted((found.key for found in storage.list(_folder(target))), reverse=True)
    return [_read(storage, key) for key in keys[:newest]]


def _read(storage: Storage, key: str) -> RunReport:
    try:
        return RunReport.model_validate_json(storage.get_bytes(key))
    except ValidationError as error:
        problem = f"{key} is not a run report ({error.error_count()} problems). Move it away."
        raise StorageError(problem, key) from error

"""A migration rejected and approved in Prefect's UI with a real browser: `make load` runs it.

Pictures of both forms lie in the folder that LOCKKEEPER_SCREENSHOTS names (default: the test's own).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lockkeeper.local.prefect_server import EmbeddedPrefect
from tests.acceptance.operator_at_prefect import Operator
from tests.acceptance.test_browser import SAVE, needs_browser, page, prefect, python

__all__ = ["page", "prefect"]
pytestmark = [needs_browser, pytest.mark.load]


@pytest.mark.timeout(900)
def test_a_migration_is_rejected_and_approved_in_the_browser_by_who_reads_what_was_measured(
    shop, prefect: EmbeddedPrefect, page: Any, tmp_path: Path
) -> None:
    shop.add_revision(
        "r1",
        'op.execute("ALTER TABLE users ADD COLUMN status text")',
        'op.execute("ALTER TABLE users DROP COLUMN status")',
    )
    operator = Operator(prefect, page, Path(os.environ.get("LOCKKEEPER_SCREENSHOTS", tmp_path)))
    saved = python(
        prefect,
        SAVE,
        name="asked",
        database_url=shop.target.database_url.get_secret_value(),
        alembic={"config_file": str(shop.folder / "alembic.ini")},
        storage_folder=str(shop.folder / "storage"),
        policies={"rehearsal": "sampled", "sample_rows": 50, "approval": "always", "capture": "off"},
    )
    assert saved.returncode == 0, saved.stderr
    title = "Apply 1 revision to asked?"
    facts = (
        "on a sample of a restored copy's rows",
        "changes: adds column public.users.status.",
        "ACCESS EXCLUSIVE on public.users",
        "proven by restoring it",
    )
    rejected = operator.start_migration("asked")
    operator.answer(rejected, "reject", title, "not today", facts)
    operator.sees_end(rejected, "Rejected")
    assert shop.differences() == []
    approved = operator.start_migration("asked")
    operator.answer(approved, "approve", title, "quiet hour", facts)
    operator.sees_end(approved, "Completed")
    assert "column public.users.status" in str(shop.differences())

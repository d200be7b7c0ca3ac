"""A rename driven in Prefect's UI with a real browser, every answer of both forms: `make load` runs it.

Pictures of every form and of every end lie in the folder that LOCKKEEPER_SCREENSHOTS names (default: the
test's own).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from lockkeeper.local.prefect_server import EmbeddedPrefect
from lockkeeper.postgres.connection import connect, fetch_all
from tests.acceptance.app.processes import fill_shop
from tests.acceptance.operator_at_prefect import Operator
from tests.acceptance.test_browser import SAVE, needs_browser, page, prefect, python

__all__ = ["page", "prefect"]
pytestmark = [needs_browser, pytest.mark.load]


def columns(url: URL) -> set[str]:
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = 'products'"
    with connect(url, "tests") as connection:
        return {name for (name,) in fetch_all(connection, query)}


@pytest.mark.timeout(1200)
def test_a_rename_is_started_approved_rejected_and_aborted_in_the_browser(
    prefect: EmbeddedPrefect, page: Any, server, make_database, tmp_path: Path
) -> None:
    operator = Operator(prefect, page, Path(os.environ.get("LOCKKEEPER_SCREENSHOTS", tmp_path)))
    shops = {name: make_database(server) for name in ("renamed", "kept")}
    for name, url in shops.items():
        fill_shop(url, 2_000)
        login = url.render_as_string(hide_password=False)
        saved = python(prefect, SAVE, name=name, database_url=login, storage_folder=str(tmp_path / name))
        assert saved.returncode == 0, saved.stderr
    flip, drop = "Let applications read description_new?", "Let description go?"

    renamed, rejected = operator.start("renamed"), operator.start("kept")
    operator.answer(renamed, "approve", flip)
    operator.answer(rejected, "reject", flip, "after the sale")
    operator.answer(renamed, "approve", drop)
    operator.sees_end(rejected, "Rejected")
    assert {"description", "description_new"} <= columns(shops["kept"])
    aborted = operator.start("kept")
    operator.sees_end(renamed, "Completed")
    assert "description" not in columns(shops["renamed"])
    operator.answer(aborted, "abort", flip, "not this year")
    operator.sees_end(aborted, "Aborted")
    assert "description_new" not in columns(shops["kept"])

"""An operator's view, in a real browser: reports of a recovered run, the form of a target, a rename.

Needs Chromium (`.ci/browser`). Without it these tests are skipped on a desk, and fail in CI.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from lockkeeper.drill.story import markdown_trend
from lockkeeper.local.prefect_server import EmbeddedPrefect
from lockkeeper.monitoring.trend import trend_of
from lockkeeper.monitoring.trend_story import trend_page
from lockkeeper.page import html_report
from lockkeeper.postgres.connection import connect, fetch_all
from lockkeeper.reports import markdown_report
from tests.acceptance.app.processes import fill_shop
from tests.acceptance.colour_blindness import DICHROMACIES, VISIONS, closest, contrast, curves_seen
from tests.acceptance.operator_at_prefect import Operator
from tests.unit.test_history import START
from tests.unit.test_impact_table import a_wait, rows_of
from tests.unit.test_page import watched
from tests.unit.test_reports import recovered_report
from tests.unit.test_trend import a_drill, growing

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="no Chromium here, so the UI was NOT tested"
)
pytestmark = needs_browser
PATIENCE_MS = 60_000
SAVE = """
import json, os
from prefect_aws import MinIOCredentials, S3Bucket
from tasks.blocks import MigrationTarget, save_block

target = json.loads(os.environ["TARGET"])
if bucket := target.pop("bucket", None):
    keys = MinIOCredentials(minio_root_user="root", minio_root_password="minio-secret")
    target["storage"] = S3Bucket(bucket_name=bucket, credentials=keys)
save_block(target.pop("name"), MigrationTarget(**target))
"""
RUN = "from flows.production_migration import production_migration as run; run('browsed')"
LOAD = """
from tasks.blocks import load_target
target = load_target("edited")
print(target.database_url.get_secret_value(), target.storage.bucket, target.maintenance_database)
print(target.alembic.config_file, target.alembic.working_dir, target.scratch_url, target.client_bin_dir)
"""


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPrefect]:
    """A Prefect server with its UI (the harness of the flows' tests has none)."""
    server = EmbeddedPrefect(tmp_path_factory.mktemp("prefect") / "home")
    server.start_server()
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture
def page() -> Iterator[Any]:
    """An empty page."""
    assert CHROMIUM, "CI must have a browser: see .ci/browser"
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


def python(prefect: EmbeddedPrefect, code: str, **target: object) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process of its own, with this Prefect as the only one it knows."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**prefect.environment(os.environ), "TARGET": json.dumps(target)},
        text=True,
        capture_output=True,
        timeout=240,
        check=False,
    )


def test_an_operator_sees_how_a_run_was_recovered(shop, prefect, page) -> None:
    shop.add_revision(
        "r1",
        'op.execute("ALTER TABLE users ADD COLUMN status text")',
        'op.execute("ALTER TABLE users DROP COLUMN status")',
    )
    shop.add_rule("status_is_filled", "SELECT id FROM users WHERE status IS NULL")
    project = {"config_file": str(shop.folder / "alembic.ini"), "rules_dir": str(shop.folder / "rules")}
    saved = python(
        prefect,
        SAVE,
        name="browsed",
        database_url=shop.target.database_url.get_secret_value(),
        alembic=project,
        storage_folder=str(shop.folder / "storage"),
        # A rehearsal would find the fault before production is touched.
        policies={"rehearsal": "off", "capture": "off"},
    )
    assert saved.returncode == 0, saved.stderr
    ran = python(prefect, RUN)
    assert "FailedRun" in ran.stderr

    run = prefect.request("POST", "/flow_runs/filter", {})[0]
    page.goto(f"{prefect.ui_url}/runs/flow-run/{run['id']}")
    page.get_by_text("Recovered").first.wait_for()
    report = prefect.request("POST", "/artifacts/filter", {"artifacts": {"key": {"like_": "%-report-%"}}})[0]
    page.goto(f"{prefect.ui_url}/artifacts/artifact/{report['id']}")
    page.get_by_role("heading", name="failed and was recovered").wait_for()
    page.get_by_text("status_is_filled").first.wait_for()
    screens = shop.folder / "screens"
    is_whole(page, screens / "artifact.png")
    assert page.evaluate(CUT_OFF, False) == []

    link = prefect.request("POST", "/artifacts/filter", {"artifacts": {"key": {"like_": "%pictures%"}}})[0]
    (stored,) = (shop.folder / "storage" / "browsed" / "reports").glob("*.html")
    assert str(stored) in link["data"]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(stored.as_uri())
        page.get_by_role("heading", name="failed and was recovered").wait_for()
        is_whole(page, screens / f"report-{width}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "it can be scrolled sideways"
    assert set(asked) == {stored.as_uri()}, "the page needs nothing from elsewhere"
    page.get_by_role("img", name="Sessions that the migration blocked").wait_for()


def is_whole(page: Any, picture: Path) -> None:
    """Take a picture of the page, on which nothing is broken: every image and every chart has a size."""
    picture.parent.mkdir(exist_ok=True)
    page.screenshot(path=picture, full_page=True)
    broken = "images => images.filter(image => image.complete && image.naturalWidth === 0).length"
    assert page.locator("img").evaluate_all(broken) == 0
    empty = "charts => charts.filter(chart => chart.getBoundingClientRect().width < 100).length"
    assert page.locator("svg[role=img]").evaluate_all(empty) == 0


CUT_OFF = """may_scroll => {
    const ours = Array.from(document.querySelectorAll("article.markdown-renderer, .p-table"));
    const around = new Set(ours);
    for (const one of ours) {
        one.querySelectorAll("*").forEach(inner => around.add(inner));
        for (let outer = one.parentElement; outer; outer = outer.parentElement) around.add(outer);
    }
    return Array.from(around).filter(one => {
        const how = getComputedStyle(one).overflowX;
        const reachable = may_scroll && (how === "auto" || how === "scroll");
        return how !== "visible" && !reachable && one.scrollWidth > one.clientWidth + 1;
    }).map(one => `${one.tagName}.${one.className}: ${one.textContent.slice(0, 80)}`);
}"""
LONG = "UPDATE a_schema.a_table_of_some_length SET " + ", ".join(
    f"column_{n} = column_{n} + ?" for n in range(9)
)


@pytest.mark.parametrize("kind", ["report", "impact", "drills"])
def test_pages_of_our_artifacts_fit_a_screen_and_a_phone(prefect, page, tmp_path, kind) -> None:
    """On a screen nothing is wider than its place; on a phone a table is scrolled in its own box."""
    waits = (a_wait(20, 10), a_wait(21, 20, LONG))
    rows = [{"what": what, "seen": seen} for what, seen in rows_of(*waits)]
    story = recovered_report(monitor=watched(), next_command="lockkeeper undo shop")
    artifact_type, data, said = {
        "report": ("markdown", markdown_report(story), "failed and was recovered"),
        "impact": ("table", json.dumps(rows), "Sessions kept waiting by it"),
        "drills": (
            "markdown",
            markdown_trend([a_drill(day, 40.0 + day) for day in range(1, 9)]),
            "Backup drills",
        ),
    }[kind]
    document = {"key": f"fits-{kind}", "type": artifact_type, "data": data}
    artifact = prefect.request("POST", "/artifacts/", document)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{prefect.ui_url}/artifacts/artifact/{artifact['id']}")
        page.get_by_text(said).first.wait_for()
        is_whole(page, tmp_path / "screens" / f"{kind}-{width}.png")
        assert page.evaluate(CUT_OFF, width < 1280) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["report", "trend"])
def test_curves_are_told_apart_by_colour_blind_people(page, tmp_path, kind, scheme) -> None:
    """By colour with each of the three dichromacies, by their dashes with no colour at all."""
    drills = [a_drill(day, 40.0 + day) for day in range(1, 9)]
    pages = {
        "report": lambda: html_report(recovered_report(monitor=watched())),
        "trend": lambda: trend_page(trend_of("shop", START, growing(4), drills)),
    }
    path = tmp_path / f"{kind}.html"
    path.write_text(pages[kind](), encoding="utf-8")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(path.as_uri())
    for vision in VISIONS:
        charts = curves_seen(page, vision)
        assert charts, "a chart with several curves"
        for chart in charts:
            assert chart.is_drawn_as_promised, (chart, vision)
            assert len(set(chart.dashes)) == len(chart.dashes), (chart, vision)
            assert min(contrast(colour, chart.paper) for colour in chart.colours) >= 3, (chart, vision)
            if vision in DICHROMACIES:
                assert closest(chart.colours) >= 10, (chart, vision)


def test_a_target_edited_in_the_form_keeps_its_bucket_and_its_secrets(prefect, page) -> None:
    url = "postgresql://app:db-secret@db.example/shop"
    project = {"config_file": "/srv/shop/alembic.ini"}
    saved = python(prefect, SAVE, name="edited", database_url=url, bucket="backups", alembic=project)
    assert saved.returncode == 0, saved.stderr
    found = prefect.request("GET", "/block_types/slug/migration-target/block_documents/name/edited")

    page.goto(f"{prefect.ui_url}/blocks/block/{found['id']}/edit")
    page.get_by_text("Maintenance Database").wait_for()
    fields = page.locator("input, textarea")
    fields.first.wait_for()
    values = fields.evaluate_all("fields => fields.map(field => field.value)")
    assert not any("secret" in value for value in values)
    fields.nth(values.index("postgres")).fill("maintenance")
    page.get_by_role("button", name="Save").last.click()
    page.wait_for_url(f"**/blocks/block/{found['id']}")

    loaded = python(prefect, LOAD)
    expected = [url, "backups", "maintenance", "/srv/shop/alembic.ini", "None", "None", "None"]
    assert loaded.stdout.split() == expected, loaded.stderr


@pytest.mark.timeout(600)
def test_a_rename_is_started_and_aborted_in_the_browser(prefect, page, database, tmp_path) -> None:
    fill_shop(database, 2_000)
    login = database.render_as_string(hide_password=False)
    saved = python(prefect, SAVE, name="renamed", database_url=login, storage_folder=str(tmp_path / "kept"))
    assert saved.returncode == 0, saved.stderr
    operator = Operator(prefect, page, tmp_path)
    run = operator.start("renamed")
    operator.answer(run, "abort", "Let applications read description_new?", "not this year")
    operator.sees_end(run, "Aborted")
    with connect(database, "tests") as connection:
        query = "SELECT column_name FROM information_schema.columns WHERE table_name = 'products'"
        columns = {name for (name,) in fetch_all(connection, query)}
        flags = fetch_all(connection, "SELECT percent FROM lockkeeper.feature_flag")
    assert ("description" in columns, "description_new" in columns, flags) == (True, False, [])
    pictures = {path.name.split("-", 1)[1] for path in tmp_path.glob("*.png")}
    assert pictures >= {"start.png", "abort-applications.png", "aborted.png"}

"""What drills say: the forecast, the trend, its picture, and what a recovery would lose."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree

import pytest

from lockkeeper.drill import last_drill, read_drills, trend_chart, write_drill
from lockkeeper.drill.chart import data_uri
from lockkeeper.drill.objective import check_objective, forecast_s
from lockkeeper.drill.story import loss_sentence, markdown_trend
from lockkeeper.errors import StorageError
from lockkeeper.models import BackupKind, CheckState, DrillReport
from lockkeeper.operations import too_slow
from lockkeeper.storage.local import LocalStorage

START = datetime(2026, 11, 1, 4, 43, tzinfo=timezone.utc)


def drill(number: int = 0, **changes: object) -> DrillReport:
    at = START + timedelta(weeks=number)
    values = {
        "run_id": f"{at:%Y%m%dT%H%M%SZ}-{number:06x}", "target": "shop", "backup_id": f"backup-{number}",
        "backup_made_at": at - timedelta(hours=2), "started_at": at, "database_bytes": 1_000_000_000,
        "rows": 5_000_000, "restore_s": 60.0, "compare_s": 20.0, "analyze_s": 5.0,
        "predicted_recovery_s": 87.0, "loss_window_s": 0.0, "objective_s": 300.0, **changes,
    }  # fmt: skip
    return DrillReport.model_validate(values)


def dots(svg: str) -> list[tuple[str, str]]:
    """Shape and words of each drill, in the order in which they are drawn."""
    marks = [mark for mark in ElementTree.fromstring(svg) if len(mark)]
    return [(mark.tag.rpartition("}")[2], mark[0].text) for mark in marks]


def test_the_picture_has_one_dot_for_each_drill_and_tells_the_slow_ones() -> None:
    svg = trend_chart([drill(0), drill(1, predicted_recovery_s=412.0), drill(2)])
    assert [shape for shape, _ in dots(svg)] == ["circle", "rect", "circle"], "not by colour alone"
    assert dots(svg)[1][1] == "2026-11-08: 6 min 52 s"


def test_the_picture_of_a_single_drill_can_be_drawn() -> None:
    assert len(dots(trend_chart([drill()]))) == 1


def test_a_slower_recovery_is_drawn_higher() -> None:
    root = ElementTree.fromstring(trend_chart([drill(0), drill(1, predicted_recovery_s=250.0)]))
    first, second = (float(one.attrib["cy"]) for one in root.iter("{http://www.w3.org/2000/svg}circle"))
    assert second < first, "SVG counts from the top"


def test_the_trend_shows_picture_and_figures_newest_first() -> None:
    text = markdown_trend([drill(0), drill(1)])
    assert "1 min 27 s, within the objective of 5 min 00 s" in text
    assert "restored backup `backup-1`" in text
    newest, oldest = (f"| {one.started_at:%Y-%m-%d %H:%M} |" for one in (drill(1), drill(0)))
    assert text.index(newest) < text.index(oldest)
    encoded = text.split("(data:image/svg+xml;base64,")[1].split(")")[0]
    assert base64.b64decode(encoded).decode() == trend_chart([drill(0), drill(1)])
    assert encoded == data_uri(trend_chart([drill(0), drill(1)])).rpartition(",")[2]


def test_a_drill_beyond_the_objective_says_so() -> None:
    assert "**beyond** the objective" in markdown_trend([drill(predicted_recovery_s=412.0)])


def test_what_would_be_lost_is_said_where_writes_are_not_captured() -> None:
    assert loss_sentence(drill()).endswith("it would lose none.")
    assert "2 h 00 min ago, would not come back" in loss_sentence(drill(loss_window_s=7200))


@pytest.mark.parametrize(
    ("last", "database_bytes", "state", "says"),
    [
        (None, 10**9, CheckState.OK, "lockkeeper drill shop"),
        (drill(), 10**9, CheckState.OK, "would take 1 min 27 s"),
        (drill(), 2 * 10**9, CheckState.OK, "would take 2 min 54 s"),
        (drill(), 4 * 10**9, CheckState.WARNING, "would take 5 min 48 s"),
        (drill(predicted_recovery_s=301.0), 10**9, CheckState.WARNING, "only the warm copy"),
    ],
)
def test_the_forecast_grows_with_the_database_and_never_refuses(last, database_bytes, state, says) -> None:
    check = check_objective(last, database_bytes, 300.0, "shop")
    assert (check.state, check.refuses) == (state, False)
    assert says in check.message


def test_what_a_physical_backup_would_take_is_said_beside_a_dump_that_is_too_slow() -> None:
    slow, physical = drill(predicted_recovery_s=412.0), drill(backup_kind=BackupKind.PHYSICAL)
    check = check_objective(slow, 10**9, 300.0, "shop", physical)
    assert "would take 6 min 52 s" in check.message
    assert "from a physical backup it would take 1 min 27 s" in check.message
    assert "lockkeeper backup --kind physical" in check_objective(slow, 10**9, 300.0, "shop").message
    assert "would take 1 min 27 s" in check_objective(None, 10**9, 300.0, "shop", physical).message


def test_a_database_that_has_shrunk_is_not_promised_to_come_back_faster() -> None:
    assert forecast_s(drill(), 10) == 87.0


def test_the_alert_says_how_long_and_what_to_do() -> None:
    error = too_slow(drill(predicted_recovery_s=412.0))
    assert "412 s" in str(error)
    assert "300 s" in str(error)
    assert error.exit_code == 1


def test_drills_are_kept_in_order_and_the_newest_is_found(tmp_path) -> None:
    storage = LocalStorage(tmp_path)
    assert last_drill(storage, "shop") is None
    for number in (1, 0, 2):
        write_drill(storage, drill(number))
    write_drill(storage, drill(5, target="other"))
    assert read_drills(storage, "shop") == [drill(0), drill(1), drill(2)]
    assert read_drills(storage, "shop", newest=2) == [drill(1), drill(2)]
    assert last_drill(storage, "shop") == drill(2)


def test_a_file_that_is_no_drill_is_named(tmp_path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put_bytes("shop/drills/x.json", b"{}")
    with pytest.raises(StorageError, match=r"shop/drills/x\.json is not a drill"):
        read_drills(storage, "shop")

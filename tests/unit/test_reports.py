"""Reports and notices tell the whole story, break no markup and hold no secret."""

from __future__ import annotations

import io
import json
import re
from datetime import datetime, timezone
from typing import Any

import pytest
from rich.console import Console

from lockkeeper.measured import MonitorSummary, RevisionEstimate, Risk
from lockkeeper.models import (
    Check,
    CheckState,
    Instance,
    MigrationPlan,
    Outcome,
    RecoveryAttempt,
    RestoreReport,
    Revision,
    RevisionTiming,
    RunReport,
    Step,
    StepState,
)
from lockkeeper.notices import mrkdwn, slack_notice
from lockkeeper.redaction import register_secret
from lockkeeper.reports import (
    format_duration,
    format_size,
    headline,
    markdown_report,
    plain,
    restore_facts,
    terminal_report,
)

NOW = datetime(2026, 11, 23, 10, 45, tzinfo=timezone.utc)
SECRET = "Canary-9c1d-report"
register_secret(SECRET)
HOSTILE = f"a|b `tick` ``` <!channel> <b>x</b> [y](http://z) *s* _u_ {SECRET} \x1b[31mred\x1b[0m\nnext line"


def run_report(**changes: Any) -> RunReport:
    plan = MigrationPlan(
        before=("aaa1",),
        after=("ccc3",),
        steps=(Revision(id="bbb2", message="add status"), Revision(id="ccc3", message="index it")),
        destination="head",
        reaches_head=True,
    )
    steps = (
        Step(name="preflight", state=StepState.DONE, started_at=NOW, duration_s=0.42),
        Step(name="backup", state=StepState.DONE, started_at=NOW, duration_s=12.34, detail="b1, 5 bytes"),
        Step(name="migrate", state=StepState.DONE, started_at=NOW, duration_s=75),
    )
    values: dict[str, Any] = {
        "run_id": "20261123T104500Z-1a2b3c",
        "operation": "migrate",
        "target": "shop",
        "database": "shop_production",
        "outcome": Outcome.SUCCEEDED,
        "started_at": NOW,
        "duration_s": 91.2,
        "initiator": "mira@laptop",
        "requested_revision": "head",
        "plan": plan,
        "revisions": (
            RevisionTiming(revision="bbb2", duration_s=1.5, attempts=3, lock_timeouts=2),
            RevisionTiming(revision="ccc3", duration_s=0.1),
        ),
        "backup_id": "shop-b1",
        "steps": steps,
        "checks": (Check(name="connection", state=CheckState.OK, message="connected"),),
        "monitor": MonitorSummary(
            samples=9, max_blocked_sessions=2, longest_block_s=0.8, blockers=("pid 7 blocked pid 8",),
            size_before_bytes=1_000_000, size_after_bytes=1_400_000,
        ),
        "link": "https://prefect.example/runs/1?a=1&b=2",
    }  # fmt: skip
    return RunReport(**{**values, **changes})


def recovered_report(**changes: Any) -> RunReport:
    attempts = (
        RecoveryAttempt(rung="downgrade", succeeded=False, reason="users.status differs", duration_s=2),
        RecoveryAttempt(rung="restore", succeeded=True, reason="restored shop-b1", duration_s=40),
    )
    restore = RestoreReport(
        backup_id="shop-b1", database="shop_production", fence_s=0.7, duration_s=39,
        quarantine_database="shop_production_lk_failed_20261123104700",
    )  # fmt: skip
    values = {"outcome": Outcome.RECOVERED, "error": "rule broken", "recovery": attempts, "restore": restore}
    return run_report(**{**values, **changes})


def rendered(report: RunReport, *, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    console.print(terminal_report(report))
    return console.file.getvalue()  # type: ignore[attr-defined]


def texts_of(report: RunReport) -> list[str]:
    notice = slack_notice(report)
    return [markdown_report(report), rendered(report), notice.text + json.dumps(notice.blocks)]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.424, "0.42 s"), (12.34, "12.3 s"), (59.96, "1 min 00 s"), (75, "1 min 15 s"), (3725, "1 h 02 min")],
)
def test_durations_are_readable(seconds: float, expected: str) -> None:
    assert format_duration(seconds) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_400_000, "1.4 MB"), (10**18, "1000.0 PB")],
)
def test_sizes_are_readable(size: int, expected: str) -> None:
    assert format_size(size) == expected


def test_a_success_is_told_with_steps_revisions_and_what_the_monitor_saw() -> None:
    for text in texts_of(run_report())[:2]:
        for fact in (
            "Migration of shop: succeeded", "shop_production", "mira@laptop", "shop-b1", "1 min 31 s",
            "12.3 s", "bbb2", "add status", "1.50 s", "1.0 MB before, 1.4 MB after", "pid 7 blocked pid 8",
            "1 check, OK", "20261123T104500Z-1a2b3c",
        ):  # fmt: skip
            assert fact in text, fact
    assert "| `bbb2` | add status | 1.50 s | 3 | 2 |" in markdown_report(run_report())
    assert "[Open the run](https://prefect.example/runs/1?a=1&b=2)" in markdown_report(run_report())


def test_a_recovery_is_told_rung_by_rung() -> None:
    for text in texts_of(recovered_report()):
        for fact in ("rule broken", "users.status differs", "restored shop-b1", "lk\\_failed", "0.70 s"):
            assert fact in text or fact.replace("\\", "") in text, fact
    assert "| downgrade | no | 2.00 s | users.status differs |" in markdown_report(recovered_report())


def test_what_is_too_long_for_its_place_in_prefect_is_broken_or_told_below_and_stays_whole() -> None:
    detail = "rule status_is_filled is broken by 500 rows: " + ", ".join(f"(id={n})" for n in range(30))
    step = Step(name="verify", state=StepState.FAILED, started_at=NOW, detail=detail)
    text = markdown_report(recovered_report(error=detail, steps=(step,)))
    assert "| verify | failed | 0.00 s | see below |" in text
    block = text.split("```text\n")[1].split("\n```")[0]
    assert " ".join(block.splitlines()) == detail
    assert max(map(len, block.splitlines())) <= 72
    assert "- verify: rule status\\_is\\_filled is broken by 500 rows: (id=0), " in text


def test_the_next_command_can_be_copied_as_it_is() -> None:
    command = "lockkeeper restore shop shop-b1 --accept-loss"
    report = recovered_report(outcome=Outcome.NEEDS_HUMAN, next_command=command)
    assert f"```sh\n{command}\n```" in markdown_report(report)
    assert f"```{command}```" in json.dumps(slack_notice(report).blocks)


def test_revisions_that_did_not_run_are_told_as_such() -> None:
    report = recovered_report(revisions=(RevisionTiming(revision="bbb2", duration_s=1),))
    assert "| `ccc3` | index it | not applied |" in markdown_report(report)
    running = run_report(outcome=None, revisions=())
    assert "| `ccc3` | index it | planned |" in markdown_report(running)
    expected = (RevisionEstimate(revision="ccc3", duration_s=1.5),)
    rehearsed = report.model_copy(update={"risk": Risk(budget_ms=500, blocking="writes", estimates=expected)})
    assert "| `ccc3` | index it | not applied (1.50 s rehearsed) |" in markdown_report(rehearsed)
    assert headline(running) == "Migration of shop: still running"


def test_checks_that_were_not_ok_are_all_shown() -> None:
    checks = (
        Check(name="privileges", state=CheckState.WARNING, message="may not end sessions"),
        Check(name="storage", state=CheckState.UNKNOWN, message="timed out"),
        Check(name="server", state=CheckState.OK, message="PostgreSQL 16"),
    )
    for text in texts_of(run_report(checks=checks))[:2]:
        assert "could not check" in text
        assert "may not end sessions" in text
        assert "PostgreSQL 16" not in text


@pytest.mark.parametrize("outcome", [*Outcome, None])
def test_every_outcome_has_a_report_and_a_message(outcome: Outcome | None) -> None:
    report = run_report(outcome=outcome, plan=None, revisions=(), steps=(), checks=(), monitor=None)
    for text in texts_of(report):
        assert "shop" in text
        assert "mira@laptop" in text
        assert "1 min 31 s" in text


def test_no_secret_and_no_control_character_passes_the_edge() -> None:
    report = recovered_report(
        error=HOSTILE, initiator=HOSTILE, warnings=(HOSTILE,), database=HOSTILE, next_command=HOSTILE,
        steps=(Step(name=HOSTILE, state=StepState.FAILED, started_at=NOW, detail=HOSTILE),),
        checks=(Check(name=HOSTILE, state=CheckState.FAILED, message=HOSTILE),),
        link=f"https://u:{SECRET}@prefect.example/",
    )  # fmt: skip
    for text in texts_of(report):
        assert SECRET not in text
        assert "\x1b" not in text
        assert "\\u001b" not in text
        assert "Open the run" not in text


def test_hostile_text_cannot_break_a_markdown_table() -> None:
    report = run_report(
        database=HOSTILE, steps=(Step(name=HOSTILE, state=StepState.DONE, started_at=NOW, detail=HOSTILE),)
    )
    text = markdown_report(report)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for row in rows:
        cells = len(re.findall(r"(?<!\\)\|", row)) - 1
        assert cells in (2, 4, 5), row
    assert "<b>" not in re.sub(r"`+ ?[^\n]*`+", "", text)
    assert r"&lt;\!channel&gt;" in text
    assert r"\[y\](http://z)" in text


def test_an_error_with_fences_stays_inside_its_block() -> None:
    text = markdown_report(recovered_report(error="before\n````\n# not a headline\n````"))
    assert "`````text\nbefore\n````\n# not a headline\n````\n`````" in text


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "https://x/ (y)", "https://x|y", "file:///etc/passwd", ""]
)
def test_only_plain_web_addresses_become_links(link: str) -> None:
    for text in texts_of(run_report(link=link)):
        assert "Open the run" not in text


def test_the_terminal_report_is_readable_in_a_narrow_window() -> None:
    text = rendered(recovered_report(), width=60)
    assert max(map(len, text.splitlines())) <= 60
    assert "failed and was recovered" in text


def test_rich_markup_in_a_message_is_shown_as_it_is() -> None:
    assert "array[1] [bold]" in rendered(recovered_report(error="array[1] [bold]"))


def test_plain_keeps_lines_and_loses_what_steers_a_terminal() -> None:
    assert plain("a\r\nb\tc\x1b[2J\u202e") == "a\nb   c\ufffd[2J\ufffd"


def test_a_driver_message_with_a_tab_is_shown_to_its_end() -> None:
    error = "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?"
    assert "accepting TCP/IP connections?" in rendered(recovered_report(error=error), width=200)


def test_slack_text_cannot_mention_or_link() -> None:
    assert mrkdwn("<!channel> a & b <http://x|y>", 100) == "&lt;!channel&gt; a &amp; b &lt;http://x|y&gt;"


def test_slack_text_is_cut_between_characters_and_never_inside_an_entity() -> None:
    assert mrkdwn("a" * 10, 10) == "a" * 10
    assert mrkdwn("a" * 11, 10) == "a" * 9 + "…"
    assert mrkdwn("aaaa<<<", 10) == "aaaa&lt;…"


def test_slack_limits_hold_for_any_report() -> None:
    long = "<&>" * 4000
    report = recovered_report(
        target="s" * 63, database=long, error=long, initiator=long, next_command=long,
        warnings=(long,) * 60, recovery=(RecoveryAttempt(rung=long, succeeded=False, reason=long),) * 30,
        link="https://prefect.example/" + "a" * 4000,
    )  # fmt: skip
    notice = slack_notice(report)
    assert len(notice.blocks) <= 50
    assert len(notice.text) <= 4000
    for block in notice.blocks:
        texts = block.get("fields", []) + ([block["text"]] if "text" in block else [])
        assert len(block.get("fields", [])) <= 10
        for text in texts:
            limit = 150 if text["type"] == "plain_text" else 2000 if "fields" in block else 3000
            assert 0 < len(text["text"]) <= limit
            assert not re.search(r"&(?!amp;|lt;|gt;)", text["text"]) or text["type"] == "plain_text"


def test_the_same_report_gives_the_same_text() -> None:
    assert texts_of(recovered_report()) == texts_of(recovered_report())


def test_a_server_of_its_own_is_not_said_to_serve_before_applications_are_pointed_at_it() -> None:
    def told(switched: bool) -> str:
        instance = Instance(host="10.0.0.9", port=5433, folder="/srv", recovery_lsn="0/30", switched=switched)
        restore = RestoreReport(
            backup_id="b",
            database="shop",
            quarantine_database=None,
            fence_s=0,
            duration_s=61,
            instance=instance,
        )
        report = RunReport(
            run_id="r", operation="restore", target="shop", database="shop", started_at=NOW, restore=restore
        )
        return " ".join(restore_facts(report))

    assert "on 10.0.0.9:5433, as of 0/30" in told(False)
    assert "No application uses it yet" in told(False)
    assert "Applications were pointed at it" in told(True)

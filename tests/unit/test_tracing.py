"""Spans of a run: one for it, one for each step below it, ended in any case, and no secret in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode

from lockkeeper import tracing
from lockkeeper.errors import LockkeeperError
from lockkeeper.models import Outcome, RunReport, utc_now
from lockkeeper.record import RunRecord
from lockkeeper.redaction import register_secret


@dataclass
class Told:
    """What a span was told."""

    name: str
    parent: int
    attributes: dict[str, Any]
    status: tuple[StatusCode, str] | None = None
    events: list[BaseException] = field(default_factory=list)
    ended: int = 0


class TellingSpan(NonRecordingSpan):
    def __init__(self, number: int, told: Told) -> None:
        super().__init__(SpanContext(1, number, is_remote=False))
        self.told = told

    def is_recording(self) -> bool:
        return True

    def set_attribute(self, key: str, value: Any) -> None:
        self.told.attributes[key] = value

    def set_status(self, status: Any, description: str | None = None) -> None:
        self.told.status = (status, description or "")

    def record_exception(self, exception: BaseException, *_: Any, **__: Any) -> None:
        self.told.events.append(exception)

    def end(self, end_time: int | None = None) -> None:
        self.told.ended += 1


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    """What is told to a provider that somebody has set up."""
    told: list[Told] = []

    class TellingTracer(trace.NoOpTracer):
        def start_span(self, name: str, context: Any = None, *_: Any, **options: Any) -> TellingSpan:
            parent = trace.get_current_span(context).get_span_context().span_id
            told.append(Told(name, parent, dict(options["attributes"])))
            return TellingSpan(len(told), told[-1])

    monkeypatch.setattr(trace, "get_tracer", lambda _name: TellingTracer())
    return told


def a_record() -> RunRecord:
    report = RunReport(run_id="r1", operation="migrate", target="shop", database="d", started_at=utc_now())
    return RunRecord(report, lambda _report: None)


def test_each_step_is_a_span_below_that_of_its_run(spans) -> None:
    record = a_record()
    with record.step("backup"):
        assert trace.get_current_span().get_span_context().span_id == 2
    with record.step("migrate"):
        pass
    record.conclude(Outcome.SUCCEEDED)
    record.close()
    assert [(one.name, one.parent, one.ended) for one in spans] == [
        ("lockkeeper migrate", 0, 1),
        ("lockkeeper backup", 1, 1),
        ("lockkeeper migrate", 1, 1),
    ]
    assert all(one.attributes["lockkeeper.run_id"] == "r1" for one in spans)
    assert spans[0].attributes["lockkeeper.outcome"] == "succeeded"
    assert all(one.status is None for one in spans)


def test_a_failed_step_says_why_in_redacted_words_and_records_no_traceback(spans) -> None:
    register_secret("Canary-tracing")
    record = a_record()
    error = LockkeeperError("could not log in with Canary-tracing")
    with pytest.raises(LockkeeperError), record.step("backup"):
        raise error
    record.conclude(Outcome.FAILED, error)
    record.close()
    for one in spans:
        assert one.status is not None
        assert one.status[0] is StatusCode.ERROR
        assert "could not log in" in one.status[1]
        assert "Canary" not in one.status[1]
        assert one.events == []
        assert one.ended == 1


def test_a_run_that_only_waits_for_an_answer_has_not_failed(spans) -> None:
    record = a_record()
    record.conclude(Outcome.WAITING)
    record.close()
    assert spans[0].status is None


@pytest.mark.parametrize("is_installed", [True, False])
def test_without_a_provider_or_without_opentelemetry_a_run_is_as_ever(is_installed, monkeypatch) -> None:
    if not is_installed:
        monkeypatch.setattr(tracing, "find_spec", lambda _name: None)
    record = a_record()
    with record.step("backup"):
        pass
    with pytest.raises(KeyboardInterrupt), record.step("migrate"):
        raise KeyboardInterrupt
    record.conclude(Outcome.FAILED)
    assert [step.state.value for step in record.close().steps] == ["done", "failed"]

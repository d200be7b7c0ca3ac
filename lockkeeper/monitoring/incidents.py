"""From measurements to incidents: one incident is one alert and one all-clear.

Pure: time comes with the look. A book can be written down and read again, so that a monitor that is started
every minute goes on where the one before it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum

from pydantic import Field

from lockkeeper.models import Fact
from lockkeeper.monitoring.readings import Look
from lockkeeper.monitoring.rules import Measurement, Rule, Severity
from lockkeeper.redaction import redact


class AlertState(str, Enum):
    """What an alert says."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Incident(Fact):
    """One condition of one subject, from the first time that it was over its limit."""

    rule: str
    subject: str = ""
    since: datetime
    told_at: datetime | None = None
    good_since: datetime | None = None
    value: float = 0.0
    message: str = ""

    @property
    def key(self) -> str:
        """What makes it this incident and no other."""
        return f"{self.rule}/{self.subject}" if self.subject else self.rule


class Alert(Fact):
    """What is told of an incident when it begins and when it ends."""

    state: AlertState
    rule: str
    subject: str = ""
    severity: Severity
    target: str
    message: str
    advice: str = ""
    meaning: str = ""
    value: float
    limit: float
    since: datetime
    at: datetime
    run_id: str | None = None
    link: str | None = None

    @property
    def key(self) -> str:
        """The incident's key: the same when it fires and when it is resolved."""
        return f"{self.rule}/{self.subject}" if self.subject else self.rule

    @property
    def headline(self) -> str:
        """Say it in one line."""
        what = f"{self.rule} ({self.subject})" if self.subject else self.rule
        kind = self.severity.value if self.state is AlertState.FIRING else self.state.value
        return f"{kind}: {what} on {self.target}"


class IncidentBook(Fact):
    """The incidents that are open, told or not yet told."""

    incidents: dict[str, Incident] = Field(default_factory=dict)

    def open_incidents(self) -> list[Incident]:
        """Return those that were told, the oldest first."""
        told = [incident for incident in self.incidents.values() if incident.told_at is not None]
        return sorted(told, key=lambda incident: incident.since)


class Judge:
    """Judges looks by rules; ``book`` is what is open."""

    def __init__(
        self,
        target: str,
        rules: Sequence[Rule],
        limits: Mapping[str, float],
        book: IncidentBook | None = None,
        *,
        run_id: str | None = None,
        link: str | None = None,
    ) -> None:
        self._target = target
        self._rules = {rule.name: rule for rule in rules}
        self._limits = limits
        self._run_id, self._link = run_id, link
        self._incidents = dict(book.incidents) if book else {}

    @property
    def book(self) -> IncidentBook:
        """What is open now."""
        return IncidentBook(incidents=dict(self._incidents))

    def judge(self, look: Look) -> list[Alert]:
        """Take in one look; returns what has to be told now."""
        at = look.activity.at
        alerts: list[Alert] = []
        for rule in self._rules.values():
            alerts += self.take_in(rule, rule.measure(look), at)
        return alerts

    def take_in(self, rule: Rule, measurements: Iterable[Measurement], at: datetime) -> list[Alert]:
        """Take in what one rule measured; what is not measured any more counts as good."""
        measured = {measurement.subject: measurement for measurement in measurements}
        known = {one.subject for one in self._incidents.values() if one.rule == rule.name}
        alerts = []
        for subject in sorted(known | set(measured)):
            measurement = measured.get(subject) or Measurement(0.0, "", subject)
            alert = self._step(rule, measurement, at)
            if alert is not None:
                alerts.append(alert)
        return alerts

    def _step(self, rule: Rule, measured: Measurement, at: datetime) -> Alert | None:
        limit = self._limits.get(rule.name, rule.limit)
        key = f"{rule.name}/{measured.subject}" if measured.subject else rule.name
        incident = self._incidents.get(key)
        is_bad = measured.value >= limit
        if incident is None:
            if not is_bad:
                return None
            incident = Incident(rule=rule.name, subject=measured.subject, since=at)
        if incident.told_at is None:
            return self._before_telling(rule, incident, measured, at, is_bad)
        if measured.value >= limit * rule.clear_below:
            changes = {"value": measured.value, "message": redact(measured.message), "good_since": None}
            self._incidents[key] = incident.model_copy(update=changes)
            return None
        good_since = incident.good_since or at
        if (at - good_since).total_seconds() < rule.clear_after_s:
            self._incidents[key] = incident.model_copy(update={"good_since": good_since})
            return None
        del self._incidents[key]
        return self._alert(AlertState.RESOLVED, rule, incident, measured.value, at)

    def _before_telling(
        self, rule: Rule, incident: Incident, measured: Measurement, at: datetime, is_bad: bool
    ) -> Alert | None:
        if not is_bad:
            del self._incidents[incident.key]  # it was a moment's noise
            return None
        is_due = (at - incident.since).total_seconds() >= rule.for_s
        changes = {
            "value": measured.value,
            "message": redact(measured.message),
            "told_at": at if is_due else None,
        }
        incident = incident.model_copy(update=changes)
        self._incidents[incident.key] = incident
        return self._alert(AlertState.FIRING, rule, incident, measured.value, at) if is_due else None

    def end(self, at: datetime) -> list[Alert]:
        """Close everything, as when what was watched has ended; returns the all-clears."""
        told = self.book.open_incidents()
        self._incidents = {}
        return [
            self._alert(AlertState.RESOLVED, self._rules[one.rule], one, 0.0, at)
            for one in told
            if one.rule in self._rules
        ]

    def _alert(self, state: AlertState, rule: Rule, incident: Incident, value: float, at: datetime) -> Alert:
        return Alert(
            state=state,
            rule=rule.name,
            subject=incident.subject,
            severity=rule.severity,
            target=self._target,
            message=incident.message,
            advice=rule.advice if state is AlertState.FIRING else "",
            meaning=rule.meaning,
            value=round(value, 3),
            limit=self._limits.get(rule.name, rule.limit),
            since=incident.since,
            at=at,
            run_id=self._run_id,
            link=self._link,
        )

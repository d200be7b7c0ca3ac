"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from lockkeeper.monitoring.readings import Look


class Severity(str, Enum):
    """How soon somebody should look."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Measurement:
    """One measured value; ``subject`` tells apart what can be bad independently (a slot, a table)."""

    value: float
    message: str
    subject: str = ""


Measure = Callable[[Look], Iterable[Measurement]]


@dataclass(frozen=True)
class Rule:
    """One condition.

    Attributes:
        name: its name in limits, messages and events.
        meaning: what the value is, with its unit, for the documentation and for messages.
        limit: an incident begins at this value.
        measure: reads the value, or values, off a look; what is not measured counts as good.
        severity: how soon somebody should look.
        for_s: how long the limit must be exceeded before the incident is told.
        clear_below: share of the limit below which the incident may end (hysteresis).
        clear_after_s: how long it must stay there.
        advice: what to do.
    """

    name: str
    meaning: str
    limit: float
    measure: Measure
    severity: Severity = Severity.WARNING
    for_s: float = 0.0
    clear_below: float = 0.8
    clear_after_s: float = 0.0
    advice: str = ""

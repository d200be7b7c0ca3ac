"""Alerts as Prefect events: ``lockkeeper.alert.<rule>.firing`` and ``.resolved``, for automations.

The resource is the target, so that one automation can be about one database; see docs/monitoring.md.
"""

from __future__ import annotations

from prefect.events import emit_event

from lockkeeper.monitoring import Alert

EVENT_PREFIX = "lockkeeper.alert"


def emit_alert(alert: Alert) -> None:
    """Emit an alert; the client sends it from a thread of its own."""
    emit_event(
        event=f"{EVENT_PREFIX}.{alert.rule}.{alert.state.value}",
        resource={
            "prefect.resource.id": f"lockkeeper.target.{alert.target}",
            "prefect.resource.name": alert.target,
            "lockkeeper.rule": alert.rule,
            "lockkeeper.subject": alert.subject,
            "lockkeeper.severity": alert.severity.value,
            "lockkeeper.state": alert.state.value,
            "lockkeeper.run": alert.run_id or "",
        },
        payload=alert.model_dump(mode="json"),
    )

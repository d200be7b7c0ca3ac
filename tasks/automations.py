"""Automations that watch the monitor itself, from Prefect's server: they work when no worker does."""

from __future__ import annotations

from datetime import timedelta

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

MONITOR_FLOW = "monitor-database"
LATE = "lockkeeper: the monitor is late"
PATIENCE = timedelta(minutes=10)


def tell_when_the_monitor_is_late(block: str, patience: timedelta = PATIENCE) -> str:
    """Register, or replace, an automation that tells when a scheduled look is late and none begins.

    While nothing changes it tells again after ``patience``, not with each late run. Can run twice.

    Args:
        block: The Slack block that is told, as ``slack-webhook/NAME``, e.g. the ``NAME-slack`` of a target.
        patience: How long after a late run there may be no look that begins; at least 10 s.

    Returns:
        The automation's name.
    """
    automation = AutomationCore(
        name=LATE,
        description="No look of monitor-database began although one is due: nobody watches the databases.",
        trigger=EventTrigger(
            after={"prefect.flow-run.Late"},
            expect={"prefect.flow-run.Running"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": MONITOR_FLOW},
            posture=Posture.Proactive,
            threshold=1,
            within=patience,
        ),
        actions=[
            SendNotification(
                block_document_id=_document_id(block),
                subject="monitor-database is late",
                body=(
                    "critical: monitor-late. A look of monitor-database is due and none has begun: nobody"
                    " watches the databases. Does a worker run? prefect worker start --pool lockkeeper"
                ),
            )
        ],
    )
    with get_client(sync_client=True) as client:
        for known in client.read_automations_by_name(LATE):
            client.delete_automation(known.id)
        client.create_automation(automation)
    return LATE


def _document_id(block: str) -> object:
    return Block.load(block)._block_document_id

"""What a task of Lockkeeper may retry: only where trying again is harmless, and only what can help.

Whether an error is worth another try is decided in one place, ``lockkeeper.errors.is_transient``. Results
are neither cached nor stored: the target's own tables say where a run stands, not Prefect's memory.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from lockkeeper.errors import is_transient

RETRIES = 3
BACKOFF_FACTOR_S = 1.0
JITTER_FACTOR = 0.5


def retry_transient(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Prefect's question whether a failed task is tried again."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and is_transient(error)


once = partial(task, cache_policy=NO_CACHE, persist_result=False)
"""For steps that must not run twice by themselves: migrate, restore, everything that decides."""

repeatable = partial(
    once,
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(backoff_factor=BACKOFF_FACTOR_S),
    retry_jitter_factor=JITTER_FACTOR,
    retry_condition_fn=retry_transient,
)
"""For steps that leave nothing behind when they fail: backup, verify-backup."""

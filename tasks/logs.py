"""The engine's words in Prefect's log, and no secret in any of it.

The core logs under ``lockkeeper``; while a flow runs, those records go to the log of the task or flow that
they belong to. Every record that Prefect is about to send to its API is redacted first, tracebacks too:
a driver's exception may quote what the core never would.
"""

from __future__ import annotations

import logging
from typing import Any

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from lockkeeper.redaction import redact

CORE_LOGGER = "lockkeeper"
_LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine", "slack_sdk.webhook.client")
"""Prefect's to its API, and that of a library that quotes the webhook's address."""
_formatter = logging.Formatter()


class Redaction(logging.Filter):
    """Takes secrets out of a record, its arguments and its traceback; drops nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place."""
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info:
            record.exc_text = redact(record.exc_text or _formatter.formatException(record.exc_info))
            record.exc_info = None
        return True


class RunLogHandler(logging.Handler):
    """Hands the core's records to the current run's log, or to ``fallback`` in a thread without a run."""

    def __init__(self, fallback: logging.LoggerAdapter[Any] | logging.Logger) -> None:
        super().__init__(logging.INFO)
        self._fallback = fallback

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record again, where Prefect's API hears it."""
        run_logger(self._fallback).log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def run_logger(
    fallback: logging.LoggerAdapter[Any] | logging.Logger,
) -> logging.LoggerAdapter[Any] | logging.Logger:
    """Return the log of the task or flow that this thread works for, or ``fallback``."""
    try:
        return get_run_logger()
    except MissingContextError:
        return fallback


def keep_secrets_out_of_logs() -> None:
    """Install the redaction on what others log; harmless when it is there already."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(installed, Redaction) for installed in logger.filters):
            logger.addFilter(Redaction())

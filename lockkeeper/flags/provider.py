"""An OpenFeature provider for applications, on the table that Lockkeeper flips.

    from openfeature import api
    from lockkeeper.flags.provider import TableFlagProvider

    api.set_provider_and_wait(TableFlagProvider(engine.raw_connection))
    api.get_client().get_boolean_value("use-new-description", False, EvaluationContext(str(product_id)))

All flags are read at once, at most every ``cache_s`` seconds and by one thread, while the others go on with
what is known. A database that does not answer leaves the flags as they were. An environment variable named
like the flag (``USE_NEW_DESCRIPTION``) wins over the table, for one process.

Imports the standard library and openfeature only; any DB-API driver will do.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import FlagNotFoundError, ParseError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata

from lockkeeper.flags.split import covers

CACHE_S = 1.0
# The table is looked for first: until the first rename there is none, and no statement may fail for that.
_EXISTS = "SELECT pg_catalog.to_regclass('lockkeeper.feature_flag') IS NOT NULL"
_READ = "SELECT name, percent FROM lockkeeper.feature_flag"
_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
logger = logging.getLogger(__name__)


def variable_of(flag: str) -> str:
    """Return the environment variable that overrides a flag: ``use-new-x`` -> ``USE_NEW_X``."""
    return "".join(character if character.isalnum() else "_" for character in flag).upper()


class TableFlagProvider(AbstractProvider):
    """Reads ``lockkeeper.feature_flag`` through connections that the application hands out.

    Args:
        connect: returns a DB-API connection, closed again after each read; a pool's is best.
        cache_s: how old a flag may be, in seconds; a flip has reached every process after that.
        environ: where overrides are looked up.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        cache_s: float = CACHE_S,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._connect = connect
        self._cache_s = cache_s
        self._environ = os.environ if environ is None else environ
        self._percents: dict[str, int] = {}
        self._read_at: float | None = None
        self._reading = threading.Lock()
        self._failing = False

    def get_metadata(self) -> Metadata:
        """See OpenFeature."""
        return Metadata(name="lockkeeper-table")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Read the flags once; a database that is away is no reason not to start."""
        self._refresh()

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Decide one flag for one key; a flag that is not in the table is the caller's default.

        Raises:
            ParseError: the overriding variable is neither yes nor no.
            FlagNotFoundError: there is no such flag (OpenFeature's client then returns the default).
        """
        override = self._environ.get(variable_of(flag_key))
        if override is not None:
            return _overridden(flag_key, override)
        self._refresh()
        percent = self._percents.get(flag_key)
        if percent is None:
            if self._failing:
                return FlagResolutionDetails(default_value, reason=Reason.STALE)
            raise FlagNotFoundError(f"no flag {flag_key!r} in lockkeeper.feature_flag")
        key = evaluation_context.targeting_key if evaluation_context else None
        reason = Reason.STALE if self._failing else Reason.SPLIT if 0 < percent < 100 else Reason.STATIC
        value = covers(flag_key, percent, key)
        return FlagResolutionDetails(
            value, reason=reason, variant="new" if value else "old", flag_metadata={"percent": percent}
        )

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Refuse: these flags are yes or no."""
        raise _not_boolean(flag_key)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Refuse: these flags are yes or no."""
        raise _not_boolean(flag_key)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Refuse: these flags are yes or no."""
        raise _not_boolean(flag_key)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[Any] | Mapping[str, Any],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[Any] | Mapping[str, Any]]:
        """Refuse: these flags are yes or no."""
        raise _not_boolean(flag_key)

    def _refresh(self) -> None:
        """Read the table when what is known is too old; only the first read ever is waited for by others."""
        if self._fresh():
            return
        if self._reading.acquire(blocking=self._read_at is None):
            try:
                if not self._fresh():
                    self._read()
            finally:
                self._reading.release()

    def _fresh(self) -> bool:
        return self._read_at is not None and time.monotonic() - self._read_at < self._cache_s

    def _read(self) -> None:
        try:
            percents = self._fetch()
        except Exception as error:  # any driver's: whatever it is, the application goes on with what it knows
            if not self._failing:
                logger.warning("Flags could not be read, they stay as they are: %s", type(error).__name__)
            self._failing = True
        else:
            before, self._percents, self._failing = self._percents, percents, False
            changed = [name for name in percents if before.get(name) != percents[name]]
            if changed and self._read_at is not None:
                self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=changed))
        self._read_at = time.monotonic()

    def _fetch(self) -> dict[str, int]:
        connection = self._connect()
        try:
            cursor = connection.cursor()
            cursor.execute(_EXISTS)
            rows = []
            if cursor.fetchone()[0]:
                cursor.execute(_READ)
                rows = cursor.fetchall()
            connection.commit()  # without it the server would count a transaction that failed
            return {str(name): int(percent) for name, percent in rows}
        finally:
            connection.close()


def _overridden(flag: str, text: str) -> FlagResolutionDetails[bool]:
    value = _WORDS.get(text.strip().lower())
    if value is None:
        raise ParseError(f"{variable_of(flag)} must be one of {', '.join(_WORDS)}")
    return FlagResolutionDetails(value, reason=Reason.STATIC, variant="override")


def _not_boolean(flag: str) -> TypeMismatchError:
    return TypeMismatchError(f"{flag!r} is a boolean flag")

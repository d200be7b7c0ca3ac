"""Who is told when a flag flips: our own table always, and an external flag service where there is one.

The external service is told first. When the process dies in between, the table still has the former
percentage and the flip is done again: every switch must take the same percentage twice.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pydantic import Field, model_validator

from lockkeeper.errors import ConfigurationError, FlagSwitchError
from lockkeeper.models import Fact
from lockkeeper.process import run_program
from lockkeeper.redaction import redact, register_secret

TIMEOUT_S = 30.0
ATTEMPTS = 3
_PAUSE_S = 0.5


@dataclass(frozen=True)
class FlagChange:
    """One flip: from now on ``percent`` of the keys see the new behaviour."""

    flag: str
    percent: int
    changed_by: str
    reason: str


class FlagHook(Fact):
    """How an external flag service is told: by a program, or by a request. Holds no secret."""

    command: tuple[str, ...] = Field(
        default=(),
        description="Program and arguments; it finds the flip in LOCKKEEPER_FLAG, LOCKKEEPER_FLAG_PERCENT, "
        "LOCKKEEPER_FLAG_CHANGED_BY and LOCKKEEPER_FLAG_REASON.",
    )
    url: str | None = Field(default=None, description="Gets the flip as JSON by POST; any 2xx is a yes.")
    token_env: str | None = Field(
        default=None, description="Environment variable with a bearer token for the URL."
    )

    @model_validator(mode="after")
    def _is_one_of_both(self) -> FlagHook:
        if bool(self.command) == bool(self.url):
            raise ValueError("a flag hook has either a command or a URL")
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError("the URL of a flag hook begins with http:// or https://")
        return self


def tell(hook: FlagHook, change: FlagChange, environ: Mapping[str, str] = os.environ) -> None:
    """Tell the external service of a flip; can run twice.

    Raises:
        FlagSwitchError: it did not take it, after three attempts.
        ProgramError: the command failed.
    """
    if hook.command:
        variables = {f"LOCKKEEPER_FLAG_{name.upper()}": str(value) for name, value in asdict(change).items()}
        variables["LOCKKEEPER_FLAG"] = variables.pop("LOCKKEEPER_FLAG_FLAG")
        run_program(list(hook.command), env={**environ, **variables}, timeout_s=TIMEOUT_S)
        return
    request = _request(hook, change, environ)
    for attempt in range(1, ATTEMPTS + 1):
        problem = _post(request)
        if problem is None:
            return
        if attempt < ATTEMPTS:
            time.sleep(_PAUSE_S * attempt)
    raise FlagSwitchError(f"The flag service did not take {change.flag} at {change.percent} %: {problem}")


def _request(hook: FlagHook, change: FlagChange, environ: Mapping[str, str]) -> urllib.request.Request:
    headers = {"Content-Type": "application/json"}
    if hook.token_env:
        token = environ.get(hook.token_env)
        if not token:
            raise ConfigurationError(f"The flag hook's environment variable {hook.token_env} is not set.")
        register_secret(token)
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps({**asdict(change), "enabled": change.percent > 0}).encode()
    return urllib.request.Request(str(hook.url), body, headers)  # noqa: S310 (checked: http or https)


def _post(request: urllib.request.Request) -> str | None:
    """Send it; returns what was wrong, or None."""
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310 (the user's own service)
            return None
    except urllib.error.HTTPError as error:
        with error:
            return redact(f"status {error.code}: {error.read(200).decode(errors='replace')}")
    except OSError as error:
        return redact(str(error))

"""Prefect's HTTP API without Prefect: as much of it as the command line needs."""

from __future__ import annotations

import base64
import http.client
import json
import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import Self

from lockkeeper.errors import ConfigurationError, LockkeeperError
from lockkeeper.redaction import redact, register_secret

_UNAVAILABLE = 503  # a busy server (SQLite's lock, mostly) has done nothing of what was asked
_ATTEMPTS, _PAUSE_S = 5, 1.0


class PrefectApiError(LockkeeperError):
    """The Prefect API refused a request, or did not answer."""


class PrefectApi:
    """One API; proxies of the environment are not used.

    Args:
        url: as PREFECT_API_URL has it, e.g. http://127.0.0.1:4200/api.
        authorization: the header's value, where the API wants one.
    """

    def __init__(self, url: str, authorization: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                "The address of Prefect's API (PREFECT_API_URL) must be like http://127.0.0.1:4200/api."
            )
        self.url = url.rstrip("/")
        self._parts = parts
        self._authorization = authorization
        register_secret(authorization)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the API of PREFECT_API_URL, with PREFECT_API_KEY or PREFECT_API_AUTH_STRING where given.

        Raises:
            ConfigurationError: there is none.
        """
        url = environ.get("PREFECT_API_URL")
        if not url:
            raise ConfigurationError("Set PREFECT_API_URL to the address of your Prefect server's API.")
        key, login = environ.get("PREFECT_API_KEY"), environ.get("PREFECT_API_AUTH_STRING")
        register_secret(key)
        register_secret(login)
        if key:
            return cls(url, f"Bearer {key}")
        basic = base64.b64encode(login.encode()).decode() if login else None
        return cls(url, f"Basic {basic}" if basic else None)

    def request(self, method: str, path: str, body: object = None, *, timeout_s: float = 30) -> Any:
        """Ask the API and return its answer; a server that says it is unavailable is asked again.

        Raises:
            PrefectApiError: no answer, or a status of 400 and above (in the message).
        """
        for _ in range(_ATTEMPTS - 1):
            status, text = self._ask(method, path, body, timeout_s)
            if status != _UNAVAILABLE:
                break
            time.sleep(_PAUSE_S)
        else:
            status, text = self._ask(method, path, body, timeout_s)
        if status >= 400:
            raise PrefectApiError(f"Prefect refused {method} {path} ({status}): {redact(text[:2000])}")
        return json.loads(text) if text else None

    def _ask(self, method: str, path: str, body: object, timeout_s: float) -> tuple[int, str]:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(self._parts.hostname), self._parts.port, timeout=timeout_s)
        headers = {"Content-Type": "application/json"}
        if self._authorization:
            headers["Authorization"] = self._authorization
        payload = None if body is None else json.dumps(body)
        try:
            connection.request(method, self._parts.path.rstrip("/") + path, payload, headers)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise PrefectApiError(f"Prefect at {self.url} does not answer: {error}") from error
        finally:
            connection.close()
        return response.status, text

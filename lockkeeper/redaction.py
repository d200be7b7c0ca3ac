"""Keeps secrets out of logs, reports, alerts and exceptions.

Whoever resolves a secret registers it here once; every text that leaves Lockkeeper passes ``redact``.
"""

from __future__ import annotations

import re
import threading
from urllib.parse import quote, quote_plus

MASK = "********"
_URL_PASSWORD = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)(?P<password>[^\s/]+)(?=@)")
_DSN_PASSWORD = re.compile(
    r"(?P<head>\b(?:(?:ssl)?password|oauth_client_secret)\s*=\s*)(?P<password>'(?:[^'\\]|\\.)*'|[^\s'&]+)",
    re.IGNORECASE,
)
_MINIMUM_LENGTH = 4  # a shorter secret would mask ordinary words all over the text

_lock = threading.Lock()
_secrets: set[str] = set()


def register_secret(secret: str | None) -> None:
    """Mask ``secret``, as it is and URL-quoted, in every text from now on; short ones are ignored."""
    if not secret or len(secret) < _MINIMUM_LENGTH:
        return
    with _lock:
        _secrets.update({secret, quote(secret, safe=""), quote_plus(secret), quote(secret)})


def redact(text: str) -> str:
    """Return ``text`` without registered secrets and without passwords of URLs and DSNs."""
    with _lock:
        known = sorted(_secrets, key=len, reverse=True)
    for secret in known:
        text = text.replace(secret, MASK)
    text = _URL_PASSWORD.sub(rf"\g<head>{MASK}", text)
    return _DSN_PASSWORD.sub(rf"\g<head>{MASK}", text)

"""Who started a run, and where its log can be read: for reports and notices."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping


def initiator(environ: Mapping[str, str] = os.environ) -> str:
    """Return LOCKKEEPER_INITIATOR, or GitHub's actor, or user@host."""
    if name := environ.get("LOCKKEEPER_INITIATOR"):
        return name
    if actor := environ.get("GITHUB_ACTOR"):
        return f"{actor} (GitHub Actions)"
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def run_link(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return LOCKKEEPER_RUN_URL, or the page of the GitHub Actions run, or None."""
    if url := environ.get("LOCKKEEPER_RUN_URL"):
        return url
    parts = [environ.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    if not all(parts):
        return None
    server, repository, run = parts
    return f"{server}/{repository}/actions/runs/{run}"

"""The folder of a capture: where it is, and how its small files are replaced whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from lockkeeper.errors import RefusedError
from lockkeeper.home import lockkeeper_home
from lockkeeper.models import Fact

CLAIM_WAIT_S = 3.0
_POLL_S = 0.01
_Model = TypeVar("_Model", bound=Fact)


def captures_home() -> Path:
    """Return the folder of all captures: ``$LOCKKEEPER_HOME/captures``, or below ``~/.local/state``."""
    return (lockkeeper_home() or Path.home() / ".local" / "state" / "lockkeeper") / "captures"


def capture_folder(target: str, run_id: str) -> Path:
    """Return the folder of one capture."""
    return captures_home() / target / run_id


def save(path: Path, fact: Fact, *, durable: bool = True) -> None:
    """Replace a file by ``fact`` as JSON: a reader sees the former one or the new one, whole.

    ``durable``: after a power cut too.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(fact.model_dump_json(indent=1).encode())
        file.flush()
        if durable:
            os.fdatasync(file.fileno())
    partial.replace(path)


def load(path: Path, model: type[_Model]) -> _Model | None:
    """Read such a file; None when there is none.

    Raises:
        RefusedError: it is not what it should be.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise RefusedError(f"{path} is damaged: {error}") from error


@contextlib.contextmanager
def claimed(path: Path, wait_s: float = 0.0) -> Iterator[bool]:
    """Claim a lock file for the block; yields False when another process has it.

    The kernel frees it when its process dies.

    Whoever only looks (``is_claimed``) has it for an instant: who means to work waits that out.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + wait_s
    try:
        while not (ours := _try_lock(descriptor)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        yield ours
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_claimed(path: Path) -> bool:
    """Whether a living process holds the lock file."""
    with claimed(path) as free:
        return not free

"""Folders for what is only needed for a while: it may be as large as the server, so none outlives its use."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lockkeeper.config import Target
from lockkeeper.local.postgres_server import reachable_parent
from lockkeeper.recovery.capture.files import claimed, is_claimed

_PREFIX, _CLAIM = "lockkeeper-scratch-", "claim.lock"


@contextlib.contextmanager
def scratch_folder(target: Target) -> Iterator[Path]:
    """Yield an empty folder, removed afterwards; what processes that died have left beside it goes first.

    It is below the policy ``physical_folder``, or where temporary files of a server can be.
    """
    parent = Path(target.policies.physical_folder or reachable_parent())
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_PREFIX}*"):
        if (left / _CLAIM).exists() and not is_claimed(left / _CLAIM):
            shutil.rmtree(left, ignore_errors=True)
    own = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        with claimed(own / _CLAIM):
            own.chmod(0o711)
            folder = own / "content"
            folder.mkdir(mode=0o711)
            yield folder
    finally:
        shutil.rmtree(own, ignore_errors=True)

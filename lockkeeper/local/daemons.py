"""Servers that outlive the command which started them, and are ended by nobody else's mistake.

A process id alone proves nothing: after a reboot, or a day, it may be somebody else's. A process is
known by its id, the moment it started and the machine's boot, and is signalled only when all agree.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lockkeeper.errors import ProgramError
from lockkeeper.models import Fact
from lockkeeper.redaction import redact

POLL_INTERVAL_S = 0.05
LOG_TAIL_CHARACTERS = 2000


class ProcessIdentity(Fact):
    """One process of this machine; ``started`` is the kernel's own mark of when it started."""

    pid: int
    started: str
    boot_id: str


# Keeps the handles of our own children: to reap them, and because a collected handle of a running
# child is a ResourceWarning.
_children: dict[ProcessIdentity, subprocess.Popen[bytes]] = {}


def boot_id() -> str:
    """What tells this boot of the machine from every other; empty where the system does not say."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def start_mark(pid: int) -> str | None:
    """Return when process ``pid`` started, or None when it does not run (a zombie does not)."""
    if Path("/proc/self/stat").exists():
        try:
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if after_name[0] in "ZX" else after_name[19]
    listing = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = listing.stdout.strip().partition(" ")
    return started.strip() or None if not state.startswith("Z") else None


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of the running process ``pid``, or None when there is none."""
    started = start_mark(pid)
    return None if started is None else ProcessIdentity(pid=pid, started=started, boot_id=boot_id())


def is_running(identity: ProcessIdentity | None) -> bool:
    """Whether this very process still runs."""
    if identity is None:
        return False
    child = _children.get(identity)
    if child is not None:
        return child.poll() is None
    return identity == identify(identity.pid)


def _own_group_with_default_signals() -> None:
    # A shell's `&` starts programs with SIGINT ignored, which is inherited: a Prefect worker that
    # ignores SIGINT never stops.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start_daemon(
    argv: Sequence[str],
    log_file: Path,
    *,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    cwd: Path = Path("/"),
) -> ProcessIdentity:
    """Start ``argv`` in a session of its own, its output going to ``log_file``.

    Raises:
        ProgramError: it cannot be started, or has ended at once.
    """
    log_file.touch(mode=0o600)
    if user:
        shutil.chown(log_file, user)
    with log_file.open("ab") as log:
        try:
            popen = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=cwd, user=user,
                env=None if env is None else dict(env), start_new_session=True,
                preexec_fn=_own_group_with_default_signals,
            )  # fmt: skip
        except OSError as error:
            raise ProgramError(argv, None, str(error)) from error
    identity = identify(popen.pid)
    if identity is None:
        raise ProgramError(argv, popen.wait(), log_tail(log_file))
    _children[identity] = popen
    return identity


def exit_code(identity: ProcessIdentity) -> int | None:
    """Return the exit code of our own ended child, or None when unknown."""
    child = _children.get(identity)
    return child.poll() if child is not None else None


def end_process(identity: ProcessIdentity | None, *, grace_s: float = 20.0) -> bool:
    """End this very process: SIGTERM, after ``grace_s`` SIGKILL to its whole group.

    Returns:
        False when it did not run any more; then nothing was signalled.
    """
    if identity is None or not is_running(identity):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(identity.pid, signal.SIGTERM)
    if not _ended_within(identity, grace_s):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(identity.pid, signal.SIGKILL)
        _ended_within(identity, 10)
    return True


def _ended_within(identity: ProcessIdentity, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while is_running(identity):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True


def log_tail(log_file: Path) -> str:
    """Return the redacted end of a server's log."""
    try:
        return redact(log_file.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:])
    except OSError:
        return ""


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port now, on the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_port(*wishes: int | None) -> int:
    """Return the first of ``wishes`` that is free, or any free port."""
    return next((port for port in wishes if port and port_is_free(port)), None) or free_port()

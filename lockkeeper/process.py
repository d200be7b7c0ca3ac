"""The one place that spawns external programs.

A child gets a process group of its own, so that a time-out or an error kills all of it; on Linux it
also gets SIGKILL when its parent dies, so that a kill -9 of Lockkeeper leaves no pg_dump, pg_restore
or Alembic behind. Secrets travel in ``env`` or on stdin, never in ``argv``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from lockkeeper.errors import ProgramError, ProgramTimeoutError
from lockkeeper.redaction import redact

STDERR_TAIL_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Tail(threading.Thread):
    """Drains a pipe in the background and keeps its end, so that the child never blocks on stderr."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._data = b""
        self.start()

    def run(self) -> None:
        for chunk in iter(lambda: os.read(self._pipe.fileno(), 65536), b""):
            self._data = (self._data + chunk)[-STDERR_TAIL_BYTES:]

    def text(self) -> str:
        self.join(timeout=5)
        return redact(self._data.decode(errors="replace"))


class RunningProgram:
    """A started program: ``stdin``/``stdout`` are binary pipes where asked for, stderr is collected."""

    def __init__(self, argv: Sequence[str], popen: subprocess.Popen[bytes], tail: _Tail) -> None:
        self.argv = tuple(argv)
        self._popen = popen
        self._tail = tail
        self.stdin = popen.stdin
        self.stdout = popen.stdout

    @property
    def pid(self) -> int:
        """The program's process id, which is also its process group's."""
        return self._popen.pid

    def stderr(self) -> str:
        """Return the redacted end of what the program has written to stderr."""
        return self._tail.text()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end; raises ProgramTimeoutError (and kills the group) after ``timeout_s``."""
        try:
            return self._popen.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            self.kill()
            message = f"ended after its time limit of {timeout_s} s\n{self.stderr()}"
            raise ProgramTimeoutError(self.argv, self._popen.returncode, message) from error

    def has_ended(self) -> bool:
        """Whether the program runs no more."""
        return self._popen.poll() is not None

    def signal(self, number: int) -> None:
        """Send the program itself, not its group, a signal; harmless when it has ended."""
        if not self.has_ended():
            self._popen.send_signal(number)

    def check(self, timeout_s: float | None = None) -> None:
        """Wait for the end; raises ProgramError when the exit code is not 0."""
        if self.wait(timeout_s) != 0:
            raise ProgramError(self.argv, self._popen.returncode, self.stderr())

    def kill(self) -> None:
        """Kill the program's whole process group; harmless when it has ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
    user: str | None = None,
    die_with_parent: bool = True,
) -> Iterator[RunningProgram]:
    """Start ``argv`` and yield it; whatever happens, nothing of it runs after the block.

    Args:
        argv: the program and its arguments; must hold no secret.
        env: the whole environment, or None for this process's own.
        cwd: working folder.
        stdin: as for subprocess; default nothing.
        stdout: as for subprocess; default a pipe.
        pass_fds: descriptors that the child inherits.
        user: run as this operating system user (needs root).
        die_with_parent: on Linux, kill it when this process (thread) dies; False for what must outlive it.

    Raises:
        ProgramError: the program cannot be started.
    """
    try:
        popen = subprocess.Popen(
            list(argv),
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
            user=user,
            preexec_fn=_die_with_parent if die_with_parent else None,
        )
    except OSError as error:
        raise ProgramError(argv, None, str(error)) from error
    if popen.stderr is None:
        raise ProgramError(argv, None, "no stderr pipe")
    program = RunningProgram(argv, popen, _Tail(popen.stderr))
    try:
        yield program
    finally:
        program.kill()
        program.stderr()  # until its reader has ended, the pipe must stay open
        for pipe in (popen.stdin, popen.stdout, popen.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def run_program(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input_bytes: bytes | None = None,
    timeout_s: float | None = None,
    user: str | None = None,
) -> str:
    """Run ``argv`` to its end and return its stdout as text; for programs with small output.

    Raises:
        ProgramError: cannot be started or exit code not 0.
        ProgramTimeoutError: still running after ``timeout_s``; it was killed.
    """
    stdin = subprocess.DEVNULL if input_bytes is None else subprocess.PIPE
    with running(argv, env=env, cwd=cwd, stdin=stdin, user=user) as program:
        deadline = threading.Timer(timeout_s, program.kill) if timeout_s else None
        if deadline:
            deadline.start()
        try:
            if program.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    program.stdin.write(input_bytes or b"")
                    program.stdin.close()
            output = program.stdout.read() if program.stdout else b""
            code = program.wait()
        finally:
            expired = deadline is not None and not deadline.is_alive()
            if deadline:
                deadline.cancel()
        if expired:
            raise ProgramTimeoutError(argv, code, f"ended after its time limit of {timeout_s} s")
        if code != 0:
            raise ProgramError(argv, code, program.stderr())
        return output.decode(errors="replace")

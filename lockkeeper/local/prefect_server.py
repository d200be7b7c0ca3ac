"""A Prefect server and a process worker of our own, run by Prefect's command line.

Both live in one home folder (SQLite, results, leases), away from the user's own Prefect. The older UI
is the default one: the newer hides Resume, and it calls an analytics host.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lockkeeper.errors import ConfigurationError, ProgramError
from lockkeeper.local import daemons
from lockkeeper.prefect_api import PrefectApi, PrefectApiError

DEFAULT_PORT = 4200
WORK_POOL = "lockkeeper"
START_TIMEOUT_S = 240  # it costs 17 s of CPU on an idle machine, and machines are not idle
WORKER_TIMEOUT_S = 120
WORKER_POLL_S = 3  # Prefect's default of 10 s is a long wait before a demo; SQLite dislikes much less
_POLL_INTERVAL_S = 0.25


def prefect_is_installed() -> bool:
    """Whether Prefect can be run with this interpreter; it is not imported."""
    return find_spec("prefect") is not None


class EmbeddedPrefect:
    """One server and one worker under ``home``; started apart, since the server takes its time."""

    def __init__(self, home: Path, *, port: int | None = None, pool: str = WORK_POOL) -> None:
        if not prefect_is_installed():
            raise ConfigurationError(
                "No Prefect here. Install it with: pip install 'lockkeeper[prefect,local]'"
            )
        self.home = home
        self.port = port or daemons.choose_port(DEFAULT_PORT)
        self.pool = pool
        self.server: daemons.ProcessIdentity | None = None
        self.worker: daemons.ProcessIdentity | None = None

    @property
    def ui_url(self) -> str:
        """Where the UI is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        """What PREFECT_API_URL must be."""
        return f"{self.ui_url}/api"

    @property
    def server_log(self) -> Path:
        """What the server says."""
        return self.home.with_name("prefect-server.log")

    @property
    def worker_log(self) -> Path:
        """What the worker and the flows say."""
        return self.home.with_name("prefect-worker.log")

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return ``base`` (default: this process's environment) with our Prefect instead of the user's."""
        inherited = os.environ if base is None else base
        kept = {name: value for name, value in inherited.items() if not name.startswith("PREFECT_")}
        return {
            **kept,
            "DO_NOT_TRACK": "1",
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_UI_URL": self.ui_url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
            # In memory, a restart of the server would leak every slot for ever.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_UI_STATIC_DIRECTORY": str(self.home / "ui"),  # site-packages may be read-only
            "PREFECT_WORKER_QUERY_SECONDS": str(WORKER_POLL_S),
            "PREFECT_CLI_PROMPT": "false",
        }

    def start_server(self) -> None:
        """Start the server without waiting for it; see ``wait_until_ready``."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        argv = [*_prefect(), "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        self.server = daemons.start_daemon(argv, self.server_log, env=self.environment(), cwd=self.home)

    def wait_until_ready(self) -> None:
        """Wait until the API is healthy.

        Raises:
            ProgramError: the server ended, or was not ready in time; the message has the end of its log.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            self._still_starting("server", self.server, self.server_log, deadline)

    def answers(self) -> bool:
        """Whether the API says that it is healthy."""
        try:
            return self.request("GET", "/health") is True
        except PrefectApiError:
            return False

    def start_worker(self, working_dir: Path) -> None:
        """Make the work pool when there is none, start a process worker and wait until it is online.

        Args:
            working_dir: folder that flows run in when their deployment names none.

        Raises:
            ProgramError: the worker ended, or was not online in time.
        """
        self.create_pool()
        argv = [*_prefect(), "worker", "start", "--pool", self.pool, "--name", f"local-{os.getpid()}"]
        # The worker's own folder lies in the temporary one under a fixed name, which another user may have
        # taken: so it gets a temporary folder of ours.
        temporary = self.home / "tmp"
        temporary.mkdir(mode=0o700, exist_ok=True)
        environment = {**self.environment(), "TMPDIR": str(temporary)}
        self.worker = daemons.start_daemon(argv, self.worker_log, env=environment, cwd=working_dir)
        deadline = time.monotonic() + WORKER_TIMEOUT_S
        while argv[-1] not in self.online_workers():
            self._still_starting("worker", self.worker, self.worker_log, deadline)

    def create_pool(self) -> None:
        """Make the process work pool; harmless when there is one."""
        pools = self.request("POST", "/work_pools/filter", {})
        if self.pool not in {pool["name"] for pool in pools}:
            self.request("POST", "/work_pools/", {"name": self.pool, "type": "process"})

    def online_workers(self) -> set[str]:
        """Return the names of the pool's workers that the server has heard of lately."""
        workers = self.request("POST", f"/work_pools/{self.pool}/workers/filter", {})
        return {worker["name"] for worker in workers if worker["status"] == "ONLINE"}

    def _still_starting(
        self, name: str, process: daemons.ProcessIdentity | None, log: Path, deadline: float
    ) -> None:
        if not daemons.is_running(process) or time.monotonic() > deadline:
            code = daemons.exit_code(process) if process else None
            raise ProgramError([f"prefect {name}"], code, daemons.log_tail(log))
        time.sleep(_POLL_INTERVAL_S)

    def request(self, method: str, path: str, body: object = None, *, timeout_s: float = 30) -> Any:
        """Ask the API and return its answer; proxies of the environment are not used.

        Raises:
            PrefectApiError: no answer, or a status of 400 and above (in the message).
        """
        return PrefectApi(self.api_url).request(method, path, body, timeout_s=timeout_s)

    def stop(self) -> None:
        """Stop the worker, which ends its flow processes, then the server; harmless when none runs."""
        daemons.end_process(self.worker, grace_s=30)
        daemons.end_process(self.server, grace_s=15)
        self.worker = self.server = None


def _prefect() -> list[str]:
    return [sys.executable, "-m", "prefect"]

"""A server brought back begins to serve: on an address of its own, with the settings that came with it.

It outlives the process that starts it. It archives nothing and follows nobody: whoever wants that sets it up
again, for the new server.
"""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

from lockkeeper.config import Target
from lockkeeper.errors import ConnectionLostError, ProgramError
from lockkeeper.local.daemons import (
    ProcessIdentity,
    choose_port,
    end_process,
    is_running,
    log_tail,
    start_daemon,
)
from lockkeeper.models import Fact
from lockkeeper.physical.instance import Instance, give, postgres_cmd, server_environment
from lockkeeper.postgres.connection import connect
from lockkeeper.recovery.capture.files import save

START_TIMEOUT_S = 120.0
STARTING = "starting.json"
"""Whoever finds this without the record of a complete server has to end its process before anything else."""
_POLL_S = 0.1
_HBA = "host all all all md5\n"
"""Where no pg_hba.conf came along. The method md5 takes passwords stored as scram-sha-256, too."""


class Serving(Fact):
    """Written beside the data: a server that is known to be complete, and how it was started."""

    backup_id: str
    host: str
    port: int
    recovery_lsn: str
    process: ProcessIdentity


def serving_settings(instance: Instance, listen: str, port: int) -> dict[str, str]:
    """Return what its own files must not decide, and what they lack where the configuration is elsewhere."""
    own = (instance.data / "postgresql.conf").exists()
    return {
        **({} if own else instance.facts.settings),
        "config_file": str(instance.data / "postgresql.conf"),
        "hba_file": str(instance.data / "pg_hba.conf"),
        "ident_file": str(instance.data / "pg_ident.conf"),
        "data_directory": str(instance.data),
        "listen_addresses": listen,
        "port": str(port),
        "unix_socket_directories": "",
        "archive_mode": "off",
        "primary_conninfo": "",
        "primary_slot_name": "",
        "synchronous_standby_names": "",
        "max_logical_replication_workers": "0",
        "external_pid_file": "",
        "logging_collector": "off",
        "log_destination": "stderr",
    }


def serve(instance: Instance, target: Target, run_id: str) -> Serving:
    """Start the server, which was shut down in order, and wait until the target's own role gets in.

    Writes ``start`` into its folder, with which somebody can start it again after a reboot.

    Raises:
        ProgramError: it does not start or nobody gets in; it is stopped again, its files stay.
    """
    listen, port = target.policies.physical_listen, choose_port(target.policies.physical_port)
    settings = serving_settings(instance, listen, port)
    _add_missing_files(instance)
    os.sync()  # tar has not asked the disk to have them
    argv = postgres_cmd(instance.programs, instance.data, settings)
    start = instance.folder / "start"
    start.write_text(f"#!/bin/sh\nexec {shlex.join(argv)}\n")
    start.chmod(0o755)
    log = instance.folder / "server.log"
    process = start_daemon(argv, log, user=instance.programs.user, env=server_environment())
    serving = Serving(
        backup_id=instance.manifest.id,
        host="127.0.0.1" if listen in ("*", "0.0.0.0", "localhost") else listen.split(",")[0].strip(),  # noqa: S104
        port=port,
        recovery_lsn=str(instance.until or instance.facts.recovery_lsn),
        process=process,
    )
    save(instance.folder / STARTING, serving)
    try:
        _wait_until_reachable(serving, target, run_id, log)
    except BaseException:
        end_process(process)
        raise
    return serving


def _add_missing_files(instance: Instance) -> None:
    """Make what Debian, for one, keeps outside of the data directory."""
    for name, content in (("postgresql.conf", ""), ("pg_hba.conf", _HBA), ("pg_ident.conf", "")):
        path = instance.data / name
        if not path.exists():
            path.write_text(content)
            path.chmod(0o600)
            give(path, instance.programs.user)


def _wait_until_reachable(serving: Serving, target: Target, run_id: str, log: Path) -> None:
    url = target.url.set(host=serving.host, port=serving.port)
    deadline = time.monotonic() + START_TIMEOUT_S
    problem = ""
    while is_running(serving.process) and time.monotonic() < deadline:
        try:
            with connect(url, "restore", run_id=run_id):
                return
        except ConnectionLostError as error:
            problem = str(error)
        time.sleep(_POLL_S)
    raise ProgramError(["postgres"], None, f"{problem} {log_tail(log)}")

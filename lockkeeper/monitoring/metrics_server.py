"""The metrics that others have written as files, over HTTP: for a Prometheus that scrapes Lockkeeper itself.

Reads the folder anew for each request, so that it holds no state and may be ended and started at any time. It
listens on this machine only, unless told otherwise: who may read it may know the names of tables.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lockkeeper.errors import ConfigurationError
from lockkeeper.redaction import redact

PATH = "/metrics"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_TIMEOUT_S = 10


def merged_metrics(folder: Path) -> str:
    """Return all files of the folder as one text, each metric's values together, as the format asks for.

    Raises:
        ConfigurationError: the folder cannot be read.
    """
    comments: dict[str, list[str]] = {}
    values: dict[str, list[str]] = {}
    for line in _lines(folder):
        if line == "# EOF":
            continue
        if line.startswith("# "):
            name = line.split(" ")[2]
            if len(comments.setdefault(name, [])) < 2:  # HELP and TYPE; every file has the same ones
                comments[name].append(line)
        else:
            values.setdefault(line.partition("{")[0], []).append(line)
    families = (comments[name] + values.get(name, []) for name in comments)
    return "\n".join([*(line for family in families for line in family), "# EOF", ""])


def _lines(folder: Path) -> Iterator[str]:
    try:
        if not folder.is_dir():
            raise ConfigurationError(f"There is no folder {folder} with metrics.")
        for path in sorted(folder.glob("lockkeeper-*.prom")):
            yield from filter(None, path.read_text(encoding="utf-8").split("\n"))
    except OSError as error:
        raise ConfigurationError(f"Metrics in {folder} cannot be read: {error.strerror}.") from error


class MetricsServer(ThreadingHTTPServer):
    """Answers ``GET /metrics``."""

    daemon_threads = True

    def __init__(self, folder: Path, host: str, port: int) -> None:
        self.folder = folder
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    timeout = REQUEST_TIMEOUT_S

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self._answer(404, f"Metrics are at {PATH}.\n", TEXT_FORMAT)
            return
        try:
            text = merged_metrics(self.server.folder)
        except ConfigurationError as error:
            self._answer(503, f"{redact(str(error))}\n", TEXT_FORMAT)
            return
        accepted = self.headers.get("Accept", "")
        self._answer(200, text, OPEN_METRICS if "openmetrics" in accepted else TEXT_FORMAT)

    def _answer(self, status: int, text: str, content_type: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_values: object) -> None:
        """Log nothing: a line for each scrape helps nobody."""


@contextlib.contextmanager
def serving_metrics(folder: Path, host: str, port: int) -> Iterator[str]:
    """Serve for the length of the block, from a thread; yields the address.

    Raises:
        ConfigurationError: it cannot listen there.
    """
    try:
        server = MetricsServer(folder, host, port)
    except OSError as error:
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    thread = threading.Thread(target=server.serve_forever, name="lockkeeper-metrics-server", daemon=True)
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_port}{PATH}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

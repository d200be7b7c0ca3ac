"""A webhook as it really is: taking messages, refusing them, failing, hanging."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pydantic import SecretStr


class Receiver(ThreadingHTTPServer):
    """Answers with ``statuses`` in turn, the last one for ever; 0 hangs until the server is closed."""

    def __init__(self, statuses: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = statuses
        self.received: list[dict] = []
        self.closing = threading.Event()

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"http://127.0.0.1:{self.server_port}/services/T0/B0/canary-webhook")


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(body))
        position = min(len(self.server.received), len(self.server.statuses)) - 1
        status = self.server.statuses[position]
        if status == 0:
            self.server.closing.wait(30)
            return
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass

"""A webhook as it really is: taking messages, refusing them, failing, hanging."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr


def text_of(message: dict[str, Any]) -> str:
    """What the team reads of a Slack message, as it is shown: a shell line is found as it would be copied."""
    shown = [
        text for block in message["blocks"] for text in (block.get("text"), *block.get("fields", ())) if text
    ]
    return "\n".join(text["text"] for text in shown)


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


class BrokenReceiver(socketserver.ThreadingTCPServer):
    """Takes the request, sends ``answer``, whatever that is, and closes the connection."""

    daemon_threads = True

    def __init__(self, answer: bytes) -> None:
        super().__init__(("127.0.0.1", 0), BrokenHandler)
        self.answer = answer
        self.requests = 0

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"http://127.0.0.1:{self.server_address[1]}/services/T0/B0/canary-webhook")


class BrokenHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.server.requests += 1
        length = 0
        while (line := self.rfile.readline()).strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.rfile.read(length)
        self.wfile.write(self.server.answer)


BROKEN_ANSWERS = {
    "ends in mid-body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok",
    "ends in mid-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nok",
    "refuses in mid-body": b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nno",
    "is no HTTP": b"220 mail.example ESMTP\r\n",
    "says nothing": b"",
}


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

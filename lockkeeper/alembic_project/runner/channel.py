"""The line to the parent: requests in, events out, one JSON object a line, on descriptors of their own.

Whatever env.py and the migrations print, read or reconfigure, it cannot reach these descriptors: stdin
becomes /dev/null, stdout joins stderr (which the parent keeps the end of), and programs that a migration
starts inherit neither.
"""

import json
import os
import sys
import threading
from typing import Any, Dict, Iterator


class Channel:
    """One conversation with the parent."""

    def __init__(self, events_fd: int) -> None:
        self._requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        sys.stdout = os.fdopen(1, "w", 1, "utf-8", "backslashreplace", closefd=False)
        os.set_inheritable(events_fd, False)
        self._events = os.fdopen(events_fd, "w", encoding="utf-8")
        self._lock = threading.Lock()

    def requests(self) -> Iterator[Dict[str, Any]]:
        """Yield the parent's requests until it closes its end."""
        for line in self._requests:
            yield json.loads(line)

    def send(self, event: str, **facts: Any) -> None:
        """Tell the parent something, at once: what happens next may be the end of this process."""
        line = json.dumps({"event": event, **facts}, default=str)
        with self._lock:
            self._events.write(line + "\n")
            self._events.flush()

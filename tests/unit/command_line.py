"""What a call of the program in this process answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

PASSWORD = "Canary-51ab-cli"


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.out)
        return parsed


Cli = Callable[..., Answer]

"""Durations, sizes and text of others as people may read them."""

from __future__ import annotations

import re

from lockkeeper.redaction import redact

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def format_duration(seconds: float) -> str:
    """Return e.g. ``0.42 s``, ``12.3 s``, ``3 min 05 s``, ``1 h 02 min``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_size(size_bytes: int) -> str:
    """Return e.g. ``512 B``, ``1.4 MB``: powers of 1,000."""
    size, unit = float(size_bytes), 0
    while abs(size) >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size_bytes} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def plain(text: str) -> str:
    """Return ``text`` without secrets, and without characters that steer a terminal or turn text around."""
    one_kind_of_space = redact(text).replace("\r\n", "\n").expandtabs(4)  # rich cuts lines with tabs
    return _CONTROL.sub("\ufffd", one_kind_of_space)

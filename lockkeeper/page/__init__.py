"""A run's story as one page with pictures: self-contained HTML, readable without JavaScript or a network."""

from __future__ import annotations

from lockkeeper.page.render import html_report

__all__ = ["html_report"]

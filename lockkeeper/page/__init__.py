"""A run's story, or a target's trend, as one page with pictures: HTML that needs no network."""

from __future__ import annotations

from lockkeeper.page.render import html_report
from lockkeeper.page.trend import Table, TrendPage, trend_html

__all__ = ["Table", "TrendPage", "html_report", "trend_html"]

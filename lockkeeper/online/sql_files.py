"""SQL that is kept in files, with SQL put into it that is quoted already."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from string import Template


@cache
def _template(name: str, package: str) -> Template:
    return Template(files(package).joinpath("queries", f"{name}.sql").read_text(encoding="utf-8"))


def named_query(name: str, /, package: str = "lockkeeper.online", **values: str) -> str:
    """Return ``queries/<name>.sql`` of ``package`` with its ``$values`` (SQL text already) filled in."""
    return _template(name, package).substitute(values)

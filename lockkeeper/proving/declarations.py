"""What a project itself says about its revisions: no way back, and why; what a downgrade may leave, and why.

In the revision's file, as module attributes::

    lockkeeper_irreversible = "the column's values are gone"
    lockkeeper_leaves = {"public.users.email": "the copies go when revision 12 drops the column"}

or in the alembic.ini, one line a revision::

    [lockkeeper]
    irreversible =
        3f2a: the column's values are gone
    leaves =
        4b1c public.users.email: the copies go when revision 12 drops the column

A declaration without a reason, or for a revision that does not exist, is an error and not a declaration.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lockkeeper.config import AlembicSettings
from lockkeeper.errors import ConfigurationError
from lockkeeper.models import Revision

SECTION = "lockkeeper"


@dataclass(frozen=True)
class Declarations:
    """Revision -> reason; revision -> subject -> reason."""

    irreversible: Mapping[str, str] = field(default_factory=dict)
    leaves: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def allows(self, revision: str, subject: str) -> str | None:
        """Return why the downgrade of ``revision`` may leave ``subject`` changed, or None."""
        return self.leaves.get(revision, {}).get(subject)


def read_declarations(settings: AlembicSettings, revisions: Sequence[Revision]) -> Declarations:
    """Read what the project's ini and its revisions' files declare.

    Raises:
        ConfigurationError: a line cannot be understood, has no reason, or names no revision.
    """
    irreversible = {one.id: one.irreversible_because for one in revisions if one.irreversible_because}
    leaves = {one.id: dict(one.leaves) for one in revisions if one.leaves}
    known = {one.id for one in revisions}
    where = f"[{SECTION}] of {settings.config_file}"
    section = _section(settings)
    for words, reason in _lines(section.get("irreversible", ""), where, "REVISION: REASON", 1):
        irreversible[_known(words[0], known, where)] = reason
    for words, reason in _lines(section.get("leaves", ""), where, "REVISION SUBJECT: REASON", 2):
        leaves.setdefault(_known(words[0], known, where), {})[words[1]] = reason
    return Declarations(irreversible, leaves)


def _section(settings: AlembicSettings) -> Mapping[str, str]:
    if settings.config_file.suffix == ".toml":
        return {}  # such projects declare in the revisions' files
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(settings.config_file, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{settings.config_file} cannot be read: {error}") from error
    return dict(parser.items(SECTION)) if parser.has_section(SECTION) else {}


def _lines(text: str, where: str, form: str, words: int) -> Iterator[tuple[list[str], str]]:
    for line in filter(None, map(str.strip, text.splitlines())):
        subject, separator, reason = line.partition(": ")
        parts = subject.split(None, words - 1)
        if not separator or not reason.strip() or len(parts) != words:
            raise ConfigurationError(f"{where}: {line!r} must be {form}.")
        yield parts, reason.strip()


def _known(revision: str, known: set[str], where: str) -> str:
    if revision not in known:
        raise ConfigurationError(f"{where} names revision {revision!r}, which the project does not have.")
    return revision

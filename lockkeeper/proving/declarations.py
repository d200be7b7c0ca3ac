"""What a project itself says about its revisions: no way back, and why; what a downgrade may leave, and why.

In the revision's file, as module attributes::

    lockkeeper_irreversible = "the column's values are gone"
    lockkeeper_leaves = {"public.users.email": "the copies go when revision 12 drops the column"}

or in the alembic.ini, one line a revision, or for all whose ids match a pattern (``*``, ``2019*``)::

    [lockkeeper]
    irreversible =
        3f2a: the column's values are gone
        0*: nobody goes back to before the launch
    leaves =
        4b1c public.users.email: the copies go when revision 12 drops the column

A declaration without a reason, or for no revision that exists, is an error and not a declaration. What is
said of a revision by its id or in its file goes before what is said of a pattern.
"""

from __future__ import annotations

import configparser
import fnmatch
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


def read_declarations(
    settings: AlembicSettings, revisions: Sequence[Revision], *, whole_project: bool = True
) -> Declarations:
    """Read what the project's ini and its revisions' files declare.

    Args:
        settings: the project.
        revisions: those that declarations are wanted of.
        whole_project: ``revisions`` are all that there are, so that a line which names none of them is wrong.

    Raises:
        ConfigurationError: a line cannot be understood, has no reason, or names no revision.
    """
    irreversible = {one.id: one.irreversible_because for one in revisions if one.irreversible_because}
    leaves = {one.id: dict(one.leaves) for one in revisions if one.leaves}
    ids = [one.id for one in revisions]
    where = f"[{SECTION}] of {settings.config_file}"
    section = _section(settings)
    for words, reason in _lines(section.get("irreversible", ""), where, "REVISION: REASON", 1):
        for revision in _named(words[0], ids, where, whole_project):
            _declare(irreversible, revision, reason, itself=revision == words[0])
    for words, reason in _lines(section.get("leaves", ""), where, "REVISION SUBJECT: REASON", 2):
        for revision in _named(words[0], ids, where, whole_project):
            _declare(leaves.setdefault(revision, {}), words[1], reason, itself=revision == words[0])
    return Declarations(irreversible, leaves)


def _declare(declared: dict[str, str], key: str, reason: str, *, itself: bool) -> None:
    """Note a reason; a pattern's never replaces one that was given for the revision itself."""
    if itself or key not in declared:
        declared[key] = reason


def _named(pattern: str, ids: Sequence[str], where: str, whole_project: bool) -> list[str]:
    found = [pattern] if pattern in ids else fnmatch.filter(ids, pattern)
    if not found and whole_project:
        raise ConfigurationError(f"{where} names revision {pattern!r}, which the project does not have.")
    return found


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

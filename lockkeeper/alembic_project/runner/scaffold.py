"""Writes a chain of revisions into the user's project, as its own ``alembic revision`` would.

A program of its own, run by the project's interpreter in the project's folder: it reads one JSON document
from stdin and prints another. The project's template, file names, hooks and version folders are Alembic's
business. No database is connected to.
"""

import json
import os
import sys
from argparse import Namespace
from typing import Any, Dict, List


def scaffold(request: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Write the revisions, each upon the one before; return their ids and paths. All or none stay."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError, rev_id

    path = request["config_file"]
    toml = os.path.join(os.path.dirname(path), "pyproject.toml")
    options: Dict[str, Any] = {"file_": path, "ini_section": request["ini_section"]}
    if path.endswith(".toml"):
        options.update(file_=None, toml_file=path)
    elif os.path.exists(toml):
        options["toml_file"] = toml
    try:
        config = Config(cmd_opts=Namespace(config=path, x=[]), **options)
    except TypeError:  # before Alembic 1.16 there was no toml_file
        options.pop("toml_file", None)
        config = Config(cmd_opts=Namespace(config=path, x=[]), **options)
    script = ScriptDirectory.from_config(config)
    head = request["head"] or "head"
    written: List[Dict[str, Any]] = []
    try:
        for revision in request["revisions"]:
            identifier = revision["id"] or rev_id()
            if any(each.revision == identifier for each in script.walk_revisions()):
                raise CommandError("There is a revision " + identifier + " already.")
            made = script.generate_revision(
                identifier,
                revision["message"],
                head=head,
                refresh=True,
                splice=False,
                version_path=request["version_path"],
                upgrades=revision["upgrade"],
                downgrades=revision["downgrade"],
                imports=request["imports"],
            )
            if made is None:
                raise CommandError("Alembic cannot read the revision that its template made.")
            written.append({"id": made.revision, "down": made.down_revision, "path": str(made.path)})
            _complete(str(made.path), revision, request["imports"])
            head = made.revision
    except BaseException:
        for each in written:
            os.unlink(str(each["path"]))
        raise
    return written


def _complete(path: str, revision: Dict[str, Any], imports: str) -> None:
    """Make sure that the template let the operations in; one without a place for imports gets them inside."""
    from alembic.util import CommandError

    with open(path, encoding="utf-8") as file:
        text = file.read()
    for body in (revision["upgrade"], revision["downgrade"]):
        if body not in text:
            raise CommandError(
                "script.py.mako has no place for generated operations (${upgrades} and ${downgrades})."
            )
    if imports not in text:
        for body in (revision["upgrade"], revision["downgrade"]):
            text = text.replace(body, imports + "\n    " + body)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main() -> None:
    """Answer one request; a refusal of Alembic's is an answer, too."""
    sys.path.pop(0)  # this folder: its modules must not stand before the project's
    request = json.load(sys.stdin)
    answer, sys.stdout = sys.stdout, sys.stderr  # hooks and env.py may print
    try:
        reply: Dict[str, Any] = {"revisions": scaffold(request)}
    except Exception as error:
        reply = {"error": type(error).__name__ + ": " + str(error)}
    json.dump(reply, answer)


if __name__ == "__main__":
    main()

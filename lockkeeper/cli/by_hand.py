"""How a command's target is named to further commands: lines that work in another shell and folder.

Reports, the journal in the storage and the team's channel repeat these lines. So of what ``-x`` hands to the
project, which may be a secret, only ``{url}`` is in them; a password in a URL is refused before.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

from typer.models import OptionInfo

from lockkeeper.by_hand import LEFT_OUT, CommandLine
from lockkeeper.cli.options import TargetOptions
from lockkeeper.home import HOME_VARIABLE, lockkeeper_home

PROGRAM = "lockkeeper"


def command_line(target: str, options: TargetOptions) -> CommandLine:
    """Return the commands for a target that was selected with these options, on this machine."""
    home = lockkeeper_home()
    variables = ("env", f"{HOME_VARIABLE}={home}") if home else ()
    return CommandLine(target, tuple(_words(options)), (*variables, _program()))


def _words(options: TargetOptions) -> Iterator[str]:
    hints = get_type_hints(TargetOptions, include_extras=True)
    for one in dataclasses.fields(options):
        given = getattr(options, one.name)
        option = _long_name(hints[one.name].__metadata__[0])
        for value in given if isinstance(given, list) else [given]:
            if value is not None:
                yield from (option, _shown(one.name, value))


def _long_name(option: OptionInfo) -> str:
    """Return ``--database-url``, say; in ``Annotated`` typer takes the first name for a default at first."""
    names = (option.default, *(option.param_decls or ()))
    return next(name for name in names if isinstance(name, str) and name.startswith("--"))


def _shown(name: str, value: Any) -> str:
    """Return an option's value as it is seen from any folder and may be seen by anybody; links stay links."""
    if name == "x":
        key, _, handed = value.partition("=")
        return value if handed.strip() == "{url}" else f"{key}={LEFT_OUT}"
    if isinstance(value, Path):
        return str(value.expanduser().absolute())
    if name == "storage" and "://" not in value:
        return str(Path(value).expanduser().absolute())
    return str(value)


def _program() -> str:
    """Return the program's name, or its path where a shell would find none, or another one, by the name."""
    own, found = Path(sys.argv[0]), shutil.which(PROGRAM)
    if own.name != PROGRAM or not own.is_file() or (found and os.path.samefile(found, own)):
        return PROGRAM
    return str(own.absolute())

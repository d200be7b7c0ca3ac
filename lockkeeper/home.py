"""The folder that LOCKKEEPER_HOME names: of the registry, and of what runs leave on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lockkeeper.errors import ConfigurationError

HOME_VARIABLE = "LOCKKEEPER_HOME"


def lockkeeper_home(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder as seen from anywhere, or None where the variable is not set, or empty.

    Only a shell expands ``~``: what systemd or an .env file sets still has it.

    Raises:
        ConfigurationError: it is below the home of a user that this machine does not know.
    """
    named = environ.get(HOME_VARIABLE)
    if not named:
        return None
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigurationError(f"{HOME_VARIABLE} is {named!r}: {error} Give an absolute path.") from error

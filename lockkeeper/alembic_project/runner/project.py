"""The user's Alembic project as its own ``alembic`` command would see it, with the URL put in its place."""

import io
import os
import re
from argparse import Namespace
from importlib.util import find_spec
from typing import Any, Callable, Dict, List, Optional

from alembic.config import CommandLine, Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import __version__ as sqlalchemy_version
from sqlalchemy.engine import make_url

_SCHEME = re.compile(r"^postgres(?:ql)?(?:\+(?P<driver>\w+))?:")
_ASYNC_ENGINE = re.compile(r"\b(?:create_async_engine|async_engine_from_config)\b")
_SYNC_DRIVERS = ("psycopg2", "psycopg", "pg8000")
_LIBPQ_DRIVERS = frozenset(_SYNC_DRIVERS[:2])


class Project:
    """One project and one URL; env.py is run anew for each command, the revision files are loaded once."""

    env_runs = 0

    def __init__(self, opening: Dict[str, Any]) -> None:
        self._opening = opening
        config = self._bare_config(["current"])
        self.script = ScriptDirectory.from_config(config)
        self.url = self._url_for(self._driver(config))
        if opening["url_env"]:
            os.environ[opening["url_env"]] = self.url

    def _bare_config(self, command: List[str]) -> Config:
        path = self._opening["config_file"]
        folder = os.path.dirname(path)
        ini, toml = (None, path) if path.endswith(".toml") else (path, os.path.join(folder, "pyproject.toml"))
        kwargs: Dict[str, Any] = {"file_": ini, "ini_section": self._opening["ini_section"]}
        if toml and os.path.exists(toml):
            kwargs["toml_file"] = toml
        kwargs["cmd_opts"] = self._options(command)
        try:
            return Config(**kwargs)
        except TypeError:  # before Alembic 1.16 there was no toml_file
            kwargs.pop("toml_file", None)
            return Config(**kwargs)

    def _options(self, command: List[str]) -> Namespace:
        """Return what the command line would give to env.py: it may ask for -x, the command, or anything."""
        arguments = [
            f"{name}={value}".replace("{url}", getattr(self, "url", ""))
            for name, value in self._opening["x_arguments"].items()
        ]
        argv = ["-c", self._opening["config_file"], "-n", self._opening["ini_section"]]
        for argument in arguments:
            argv += ["-x", argument]
        return CommandLine("alembic").parser.parse_args([*argv, *command])

    def config(self, command: List[str]) -> Config:
        """Return a fresh configuration for one run of env.py."""
        config = self._bare_config(command)
        config.set_main_option("sqlalchemy.url", self.url.replace("%", "%%"))
        return config

    def _driver(self, config: Config) -> Optional[str]:
        """Choose the driver: the target's, the ini's, what env.py asks for, what is installed."""
        if self._opening["driver"]:
            return str(self._opening["driver"])
        section = self._opening["ini_section"]
        raw = config.file_config.get(section, "sqlalchemy.url", raw=True, fallback="")
        match = _SCHEME.match(raw or "")
        if match and match.group("driver"):
            return match.group("driver")
        if self._is_async() and find_spec("asyncpg"):
            return "asyncpg"
        return _installed_driver()

    def _is_async(self) -> bool:
        try:
            with open(os.path.join(self.script.dir, "env.py"), encoding="utf-8") as file:
                return bool(_ASYNC_ENGINE.search(file.read()))
        except OSError:
            return False

    def _url_for(self, driver: Optional[str]) -> str:
        url = make_url(self._opening["url"])
        if driver:
            url = url.set(drivername="postgresql+" + driver)
        if driver and driver not in _LIBPQ_DRIVERS:  # these take no libpq parameters
            mode = url.query.get("sslmode")
            url = url.set(query={"ssl": mode} if mode and driver == "asyncpg" else {})
        return str(url.render_as_string(hide_password=False))

    def run_env(
        self,
        command: List[str],
        steps: Callable[..., Any],
        *,
        output: Optional[io.StringIO] = None,
        **options: Any,
    ) -> None:
        """Run env.py once, as Alembic's command would; ``steps(heads, context)`` gives the migrations."""
        config = self.config(command)
        config.output_buffer = output
        self.env_runs += 1
        with EnvironmentContext(config, self.script, fn=steps, **options):
            self.script.run_env()


def _installed_driver() -> Optional[str]:
    """Return None when SQLAlchemy's default driver is installed, else one that is."""
    modern = tuple(int(part) for part in re.findall(r"\d+", sqlalchemy_version)[:2]) >= (2, 1)
    order = ("psycopg", "psycopg2", "pg8000") if modern else _SYNC_DRIVERS
    installed = [name for name in order if find_spec(name)]
    return None if not installed or installed[0] == order[0] else installed[0]

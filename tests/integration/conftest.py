"""Alembic projects for the tests: unchanged copies of tests/projects and of the demo."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import URL

from lockkeeper.config import AlembicSettings, LocalStorageSettings, Policies, StorageSettings, Target

PROJECTS = Path(__file__).parents[1] / "projects"
DEMO = Path(__file__).parents[2] / "migrations"

MakeProject = Callable[..., AlembicSettings]


@pytest.fixture
def project(tmp_path: Path) -> MakeProject:
    """Return a function: name of a project (and settings) -> settings of a copy of it."""

    def make(name: str, **settings: Any) -> AlembicSettings:
        source = DEMO if name == "demo" else PROJECTS / name
        folder = tmp_path / name
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        return AlembicSettings(config_file=folder / "alembic.ini", **settings)

    return make


@pytest.fixture
def make_target(tmp_path: Path) -> Callable[..., Target]:
    """Return a function: URL (storage, policies) -> target; its storage is a folder unless told otherwise."""

    def make(url: URL, storage: StorageSettings | None = None, **changes: Any) -> Target:
        policies = Policies(**changes.pop("policies", {}))
        return Target(
            name="shop",
            database_url=SecretStr(url.render_as_string(hide_password=False)),
            storage=storage or LocalStorageSettings(path=tmp_path / "storage"),
            policies=policies,
            **changes,
        )

    return make

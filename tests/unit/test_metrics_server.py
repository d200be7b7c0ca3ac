"""Metrics over HTTP: strict parsers read them, of all targets at once, by default on this machine only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text_format

from lockkeeper.cli.main import run
from lockkeeper.errors import ConfigurationError
from lockkeeper.monitoring.metrics import FOLDER_VARIABLE, Metrics, write_metrics
from lockkeeper.monitoring.metrics_server import merged_metrics, serving_metrics

NASTY = 'a "table"\\ with\nlines and \u2028'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two targets have been looked at, one is being migrated."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    for target in ("shop", "billing"):
        metrics = Metrics(target)
        metrics.set("look_success", True)
        metrics.set("connections", 7)
        write_metrics(metrics, "look")
    metrics = Metrics("shop")
    metrics.set("migration_running", True)
    metrics.set("command_progress_ratio", 0.5, pid="1", command="vacuum", table=NASTY)
    write_metrics(metrics, "migration")
    (tmp_path / "others.prom").write_text("not_ours 1\n")
    (tmp_path / "lockkeeper-shop-look.123-4").write_text("half a file")
    return tmp_path


def samples(families: Iterator) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels["target"]): sample.value
        for family in families
        for sample in family.samples
    }


def test_files_of_all_targets_are_one_valid_text_in_both_formats(folder) -> None:
    text = merged_metrics(folder)
    found = samples(parse_open_metrics(text))
    assert found == samples(parse_text_format(text))
    assert found == {
        ("lockkeeper_look_success", "shop"): 1, ("lockkeeper_look_success", "billing"): 1,
        ("lockkeeper_connections", "shop"): 7, ("lockkeeper_connections", "billing"): 7,
        ("lockkeeper_migration_running", "shop"): 1, ("lockkeeper_command_progress_ratio", "shop"): 0.5,
    }  # fmt: skip
    assert text.count("# TYPE lockkeeper_connections gauge") == 1


def test_an_empty_folder_is_valid_and_a_missing_one_is_said(tmp_path) -> None:
    assert list(parse_open_metrics(merged_metrics(tmp_path))) == []
    with pytest.raises(ConfigurationError, match="There is no folder"):
        merged_metrics(tmp_path / "missing")


def get(address: str, accept: str = "*/*") -> tuple[str, str]:
    request = urllib.request.Request(address, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.headers["Content-Type"], response.read().decode()


def test_each_request_reads_the_folder_anew_in_the_format_that_was_asked_for(folder) -> None:
    with serving_metrics(folder, "127.0.0.1", 0) as address:
        kind, text = get(address, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        assert kind.startswith("application/openmetrics-text; version=1.0.0")
        assert text == merged_metrics(folder)
        (folder / "lockkeeper-billing-look.prom").unlink()
        kind, text = get(address)
        assert kind.startswith("text/plain; version=0.0.4")
        assert "billing" not in text


def test_other_paths_and_a_folder_that_is_gone_are_no_metrics(folder) -> None:
    with serving_metrics(folder, "127.0.0.1", 0) as address:
        for path, status in (("/", 404), ("/metrics/../secret", 404)):
            with pytest.raises(urllib.error.HTTPError) as caught:
                get(address.replace("/metrics", path))
            assert caught.value.code == status
            caught.value.close()
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(address)
        assert caught.value.code == 503
        caught.value.close()


def test_scrapes_at_once_are_all_answered(folder) -> None:
    answers: list[str] = []
    with serving_metrics(folder, "127.0.0.1", 0) as address:
        threads = [threading.Thread(target=lambda: answers.append(get(address)[1])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(answers) == {merged_metrics(folder)}
    assert len(answers) == 8


def test_a_port_that_is_taken_is_said(folder) -> None:
    with serving_metrics(folder, "127.0.0.1", 0) as address:
        port = int(address.split(":")[2].split("/")[0])
        with (
            pytest.raises(ConfigurationError, match="Cannot listen on"),
            serving_metrics(folder, "127.0.0.1", port),
        ):
            pass


@pytest.mark.parametrize("listen", ["here", "127.0.0.1:", "99999", "x:-1"])
def test_a_place_that_is_none_is_refused(folder, listen, capsys) -> None:
    assert run(["metrics", "--listen", listen]) == 2
    assert "expected PORT or HOST:PORT" in capsys.readouterr().err


def test_the_command_prints_them_and_says_where_none_are_written(folder, monkeypatch, capsys) -> None:
    assert run(["metrics"]) == 0
    assert capsys.readouterr().out == merged_metrics(folder)
    assert run(["metrics", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == merged_metrics(folder)
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert run(["metrics"]) == 2
    assert FOLDER_VARIABLE in capsys.readouterr().err


def test_the_command_serves_until_it_is_interrupted(folder) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from lockkeeper.cli.main import run; sys.exit(run(['metrics', '--listen', '0']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            address = process.stderr.readline().split("Serving ")[1].strip()
            assert address.startswith("http://127.0.0.1:")
            assert get(address)[1] == merged_metrics(folder)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

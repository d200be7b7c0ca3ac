"""A failing migration that says all it knows, on the command line: no secret is anywhere afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.postgres.connection import scratch_name
from tests.integration.registered_shop import Shop, drop_all_of

TOKEN = "canary token/1"
LEAK = (
    'print("connecting to", os.environ["DATABASE_URL"], "as", os.environ["APP_TOKEN"])\n'
    '    raise RuntimeError("no luck with " + os.environ["DATABASE_URL"] + " and " + os.environ["APP_TOKEN"])'
)


def test_no_secret_is_in_what_a_failing_command_prints_sends_or_keeps(
    server: EmbeddedPostgres, make_database, webhook, tmp_path: Path
) -> None:
    slack = webhook(200)
    name = scratch_name("cli", "t")
    shop = Shop(make_database(server, name), tmp_path)
    (tmp_path / "scripts" / "versions" / "leaky.py").write_text(
        f"import os\nrevision = 'leaky'\ndown_revision = 'base0'\ndef upgrade():\n    {LEAK}\n"
    )
    try:
        done = shop.run(
            "migrate", "--revision", "leaky", "--json", "--verbose", "--debug", "--report-file", "report.md",
            *shop.described(), "--set", "rehearsal=off", "--env-from", "APP_TOKEN",
            "--slack-webhook-env", "SLACK", APP_TOKEN=TOKEN, SLACK=slack.url.get_secret_value(),
        )  # fmt: skip
    finally:
        drop_all_of(server, name)

    assert json.loads(done.stdout)["exit_code"] == 1, done.stdout
    assert "no luck with" in done.stdout
    assert "backup" in done.stderr, "progress is said there"
    kept = {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert {".json", ".html", ".zst", ".md", ".toml"} <= {Path(file).suffix for file in kept}
    everything = {**kept, "stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    everything["Slack"] = json.dumps(slack.received).encode()
    for place, text in everything.items():
        for secret in (str(shop.url.password), TOKEN, quote(TOKEN, safe=""), quote(TOKEN), "canary-webhook"):
            assert secret.encode() not in text, place

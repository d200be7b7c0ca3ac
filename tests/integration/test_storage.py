"""A folder and a real S3 server keep the same promises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lockkeeper.config import LocalStorageSettings, S3StorageSettings
from lockkeeper.errors import StorageError
from lockkeeper.local.s3_server import EmbeddedS3, temporary_s3
from lockkeeper.storage import Storage, open_storage

MIB = 1024 * 1024
UPLOAD_IN_A_PROCESS = """
import hashlib, os, random, resource
from pydantic import SecretStr
from lockkeeper.config import S3StorageSettings
from lockkeeper.storage import open_storage

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

settings = S3StorageSettings.model_validate_json(os.environ["SETTINGS"])
keys = {"access_key_id": SecretStr(os.environ["ID"]), "secret_access_key": SecretStr(os.environ["KEY"])}
storage = open_storage(settings.model_copy(update=keys))
storage.put_stream("small", [b"x" * 2**20])
before, sent, stored = peak_mib(), hashlib.sha256(), hashlib.sha256()

def chunks():
    piece = random.Random(1).randbytes(2**20)
    for number in range(300):
        data = number.to_bytes(4, "big") + piece
        sent.update(data)
        yield data

storage.put_stream("large", chunks(), expected_bytes=10**12)
grown = peak_mib() - before
for data in storage.open_stream("large"):
    stored.update(data)
storage.delete("large")
print(grown, sent.hexdigest(), stored.hexdigest())
"""


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, s3: EmbeddedS3) -> Storage:
    if request.param == "local":
        return open_storage(LocalStorageSettings(path=tmp_path / "storage"))
    return open_storage(s3.settings(prefix=f"backups/{tmp_path.name}"))


def test_what_is_put_comes_back_whole_and_in_part(storage: Storage):
    data = bytes(range(256)) * (80 * MIB // 2048)
    pieces = (data[i : i + 700_001] for i in range(0, len(data), 700_001))
    assert storage.put_stream("a/b/dump.zst", pieces, expected_bytes=len(data)) == len(data)
    assert storage.size("a/b/dump.zst") == len(data)
    assert b"".join(storage.open_stream("a/b/dump.zst")) == data
    assert b"".join(storage.open_stream("a/b/dump.zst", start=len(data) - 5)) == data[-5:]


def test_the_memory_of_an_upload_does_not_grow_with_the_size(s3: EmbeddedS3, tmp_path: Path):
    """A terabyte is expected, so parts have 80 MiB; 300 MiB of it are sent, and come back as they were."""
    settings = s3.settings(prefix=f"large/{tmp_path.name}").model_dump_json()
    done = subprocess.run(
        [sys.executable, "-c", UPLOAD_IN_A_PROCESS],
        env={
            "SETTINGS": settings,
            "ID": s3.access_key_id,
            "KEY": s3.secret_access_key,
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    grown_mib, sent_sha, stored_sha = done.stdout.split()
    assert int(grown_mib) < 50
    assert stored_sha == sent_sha
    assert list(tmp_path.iterdir()) == []


def test_listing_deleting_and_replacing(storage: Storage):
    for key in ("x/backups/2/manifest.json", "x/backups/1/manifest.json", "xy/backups/1/manifest.json"):
        storage.put_bytes(key, b"{}")
    storage.put_bytes("x/backups/1/manifest.json", b"{1}")
    assert [item.key for item in storage.list("x/backups/")] == [
        "x/backups/1/manifest.json",
        "x/backups/2/manifest.json",
    ]
    assert storage.get_bytes("x/backups/1/manifest.json") == b"{1}"
    storage.delete("x/backups/1/manifest.json")
    storage.delete("x/backups/1/manifest.json")
    assert not storage.exists("x/backups/1/manifest.json")
    assert storage.list("nothing/") == []


def test_an_interrupted_upload_leaves_nothing(storage: Storage, tmp_path: Path, s3: EmbeddedS3):
    def breaks() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * MIB
        raise RuntimeError("pg_dump died")

    with pytest.raises(RuntimeError, match="pg_dump died"):
        storage.put_stream("a/dump.zst", breaks())
    assert storage.list("") == []
    assert not [path for path in (tmp_path / "storage").rglob("*") if path.is_file()]
    assert not [path for path in s3.folder.rglob(f"*{tmp_path.name}*") if path.is_file()]


def test_a_missing_object_is_named(storage: Storage):
    with pytest.raises(StorageError, match=r"gone\.zst") as caught:
        list(storage.open_stream("gone.zst"))
    assert caught.value.key == "gone.zst"


def test_a_key_cannot_leave_the_folder(tmp_path: Path):
    with pytest.raises(StorageError, match="inside the storage"):
        open_storage(LocalStorageSettings(path=tmp_path)).put_bytes("../x", b"")


def test_dumps_in_a_folder_are_their_owners_alone(tmp_path: Path):
    open_storage(LocalStorageSettings(path=tmp_path)).put_bytes("a/x", b"secret rows")
    assert (tmp_path / "a" / "x").stat().st_mode & 0o077 == 0


def test_a_storage_that_vanishes_in_mid_upload_is_an_error_and_leaves_no_object(tmp_path: Path):
    with temporary_s3(tmp_path) as server:
        storage = open_storage(server.settings())

        def chunks() -> Iterator[bytes]:
            for number in range(40):
                if number == 12:
                    server.stop()
                yield bytes([number]) * MIB

        with pytest.raises(StorageError, match=r"dump\.zst"):
            storage.put_stream("a/dump.zst", chunks())
        server.start()
        assert storage.list("") == []


def test_errors_hold_no_secret(make_settings: Callable[..., S3StorageSettings]):
    storage = open_storage(make_settings(secret="canary-wrong-secret"))
    with pytest.raises(StorageError) as caught:
        storage.put_bytes("x", b"")
    assert "canary" not in str(caught.value)


@pytest.fixture
def make_settings(s3: EmbeddedS3) -> Callable[..., S3StorageSettings]:
    def make(secret: str) -> S3StorageSettings:
        values = s3.settings().model_dump()
        return S3StorageSettings(**{**values, "secret_access_key": secret})

    return make

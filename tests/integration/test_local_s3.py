from __future__ import annotations

import contextlib
import io
from pathlib import Path

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from lockkeeper.errors import ConfigurationError
from lockkeeper.local.s3_server import EmbeddedS3, temporary_s3


def client(server: EmbeddedS3, secret: str | None = None) -> BaseClient:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=secret or server.secret_access_key,
        config=Config(retries={"max_attempts": 1}),
    )


def test_an_object_comes_back_as_it_was_put(s3: EmbeddedS3) -> None:
    bucket = s3.settings("round-trip").bucket
    body = bytes(range(256)) * 40_000  # more than one multipart part
    with contextlib.closing(client(s3)) as connection:
        connection.upload_fileobj(io.BytesIO(body), bucket, "folder/ä object")
        assert connection.get_object(Bucket=bucket, Key="folder/ä object")["Body"].read() == body
        listed = connection.list_objects_v2(Bucket=bucket, Prefix="folder/")["Contents"]
        assert [(item["Key"], item["Size"]) for item in listed] == [("folder/ä object", len(body))]


def test_a_bucket_is_there_at_once_also_right_after_a_look_at_the_others(s3: EmbeddedS3) -> None:
    for number in range(3):
        client(s3).list_buckets()
        bucket = s3.settings(f"new-{number}").bucket
        client(s3).put_object(Bucket=bucket, Key="a", Body=b"1")
        assert client(s3).get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"


def test_a_wrong_key_is_refused(s3: EmbeddedS3) -> None:
    bucket = s3.settings("refusals").bucket
    with contextlib.closing(client(s3, "not the secret")) as stranger, pytest.raises(ClientError) as refusal:
        stranger.list_objects_v2(Bucket=bucket)
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_the_secret_is_in_no_argv_and_no_log(s3: EmbeddedS3) -> None:
    argv = Path(f"/proc/{s3.process.pid}/cmdline").read_bytes()
    assert s3.secret_access_key.encode() not in argv
    assert s3.access_key_id.encode() not in argv
    assert s3.secret_access_key not in s3.log_file.read_text()


def test_destroying_leaves_nothing(server_folder: Path) -> None:
    with temporary_s3(server_folder / "gone") as server:
        server.settings("some-bucket")
        pid = server.process.pid
    assert not server.folder.exists()
    assert not server.answers()
    assert not Path(f"/proc/{pid}").exists()


def test_a_taken_port_is_an_error_that_says_so(s3: EmbeddedS3, server_folder: Path) -> None:
    second = EmbeddedS3(server_folder / "second", port=s3.port)
    with pytest.raises(ConfigurationError, match=f"Port {s3.port} is taken"):
        second.start()
    assert s3.answers()

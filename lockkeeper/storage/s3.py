"""Storage in a bucket of an S3-compatible service.

A stream goes up as a multipart upload: the object does not exist before its completion, so an interrupted
backup leaves nothing that looks like one, and the upload is aborted so that its parts cost nothing. A
process killed with -9 cannot abort: uploads older than a day under the same key prefix are aborted by the
next backup. Parts of one object have one size (some services demand it) and at most ``_WORKERS + 1`` of
them are held here: in memory while they are small, else in files, so that memory stays below a bound
whatever the size (``lockkeeper.storage.parts``).

Limit: 10,000 parts of at most 80 MiB are 780 GiB of compressed dump; more is refused with a clear error.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError, ResponseStreamingError
from urllib3.exceptions import HTTPError

from lockkeeper.config import S3StorageSettings
from lockkeeper.errors import StorageError
from lockkeeper.models import utc_now
from lockkeeper.redaction import redact
from lockkeeper.storage.parts import Part, close_part, regroup, regroup_in_files, size_of
from lockkeeper.storage.protocol import CHUNK_BYTES, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

MIB = 1024 * 1024
MAX_PARTS = 10_000  # AWS, "Amazon S3 multipart upload limits"
SMALLEST_PART_BYTES = 8 * MIB
LARGEST_PART_BYTES = 80 * MIB
LARGEST_IN_MEMORY_BYTES = 16 * MIB
STALE_UPLOAD_AGE = timedelta(days=1)
ATTEMPTS = 4
_WORKERS = 2
_NOT_FOUND = frozenset({"404", "NoSuchKey", "NotFound"})
_BROKEN_READS = (IncompleteReadError, ResponseStreamingError, BotoCoreError, HTTPError, OSError)


def part_bytes(expected_bytes: int | None) -> int:
    """Return the part size for an object of about ``expected_bytes``, with room for half as much again."""
    wanted = (expected_bytes or 0) * 3 // 2 // MAX_PARTS
    rounded = -(-wanted // MIB) * MIB
    return min(max(rounded, SMALLEST_PART_BYTES), LARGEST_PART_BYTES)


def _client(session: boto3.session.Session, settings: S3StorageSettings, attempts: int) -> S3Client:
    key, secret, token = settings.access_key_id, settings.secret_access_key, settings.session_token
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=_WORKERS + 2,
        s3={"addressing_style": "path" if settings.endpoint_url else "auto"},
        # Services other than AWS refuse the newer checksums; the manifest's sha256 is the proof here.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region or ("us-east-1" if settings.endpoint_url else None),
        aws_access_key_id=key.get_secret_value() if key else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        aws_session_token=token.get_secret_value() if token else None,
        config=config,
    )


def create_bucket(settings: S3StorageSettings) -> None:
    """Make the bucket of these settings; raises StorageError, also when there is one already."""
    with _storage_errors(""):
        _client(boto3.session.Session(), settings, ATTEMPTS).create_bucket(Bucket=settings.bucket)


class S3Storage:
    """A bucket, below an optional prefix."""

    def __init__(self, settings: S3StorageSettings) -> None:
        self.bucket = settings.bucket
        self.prefix = settings.prefix.strip("/")
        with _storage_errors(""):
            session = boto3.session.Session()  # one, since it caches what is slow to load
            self._s3 = _client(session, settings, ATTEMPTS)
            self._once = _client(session, settings, 1)

    def describe(self) -> str:
        """Return ``s3://bucket/prefix``."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def put_stream(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int | None = None) -> int:
        """Upload in parts, two at a time, beside whoever produces the chunks."""
        self._abort_stale_uploads(key)
        with _storage_errors(key):
            created = self._s3.create_multipart_upload(Bucket=self.bucket, Key=self._key(key))
        upload_id = created["UploadId"]
        try:
            size = part_bytes(expected_bytes)
            cut = regroup if size <= LARGEST_IN_MEMORY_BYTES else regroup_in_files
            parts, sent = self._send_parts(key, upload_id, cut(chunks, size))
            with _storage_errors(key):
                self._s3.complete_multipart_upload(
                    Bucket=self.bucket,
                    Key=self._key(key),
                    UploadId=upload_id,
                    MultipartUpload={"Parts": parts},
                )
        except BaseException:
            self._abort(key, upload_id)
            raise
        stored = self.size(key)
        if stored != sent:
            self.delete(key)
            raise StorageError(f"{self.describe()} stored {stored} of {sent} bytes of {key!r}", key)
        return sent

    def _send_parts(
        self, key: str, upload_id: str, parts: Iterable[Part]
    ) -> tuple[list[CompletedPartTypeDef], int]:
        done: list[CompletedPartTypeDef] = []
        pending: deque[Future[CompletedPartTypeDef]] = deque()
        sent = 0
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="upload") as pool:
            try:
                for number, body in enumerate(parts, start=1):
                    if number > MAX_PARTS:
                        close_part(body)
                        raise StorageError(
                            f"{key!r} is larger than {sent // MIB} MiB, more than {MAX_PARTS} parts hold. "
                            "Keep this target's backups in a folder (local storage).",
                            key,
                        )
                    sent += size_of(body)
                    pending.append(pool.submit(self._send_part, key, upload_id, number, body))
                    pending[-1].add_done_callback(partial(close_part, body))
                    del body
                    while len(pending) >= _WORKERS:  # bounds the memory: one more is being filled
                        done.append(pending.popleft().result())
                done.extend(future.result() for future in pending)
            except BaseException:
                for future in pending:
                    future.cancel()
                raise
        return done, sent

    def _send_part(self, key: str, upload_id: str, number: int, body: Part) -> CompletedPartTypeDef:
        with _storage_errors(key):
            answer = self._s3.upload_part(
                Bucket=self.bucket, Key=self._key(key), UploadId=upload_id, PartNumber=number, Body=body
            )
        return {"ETag": answer["ETag"], "PartNumber": number}

    def _abort(self, key: str, upload_id: str) -> None:
        # The first error is the one to tell; what stays is aborted by a later backup.
        with contextlib.suppress(BotoCoreError, ClientError):
            self._once.abort_multipart_upload(Bucket=self.bucket, Key=self._key(key), UploadId=upload_id)

    def _abort_stale_uploads(self, key: str) -> None:
        """Abort what killed processes left of this kind of object; best effort, a courtesy to the bill."""
        family = self._key(key).rsplit("/", 2)[0] + "/"
        with contextlib.suppress(BotoCoreError, ClientError, KeyError):
            answer = self._once.list_multipart_uploads(Bucket=self.bucket, Prefix=family)
            for upload in answer.get("Uploads", []):
                if utc_now() - upload["Initiated"] > STALE_UPLOAD_AGE:
                    self._once.abort_multipart_upload(
                        Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store a small object with one request."""
        with _storage_errors(key):
            self._s3.put_object(Bucket=self.bucket, Key=self._key(key), Body=data)

    def open_stream(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        """Yield the object's bytes; a broken read goes on where it stopped, of the same object only."""
        position, attempts, etag = start, 0, ""
        while True:
            with _storage_errors(key):
                options: dict[str, Any] = {"Range": f"bytes={position}-"} if position else {}
                if etag:
                    options["IfMatch"] = etag
                answer = self._s3.get_object(Bucket=self.bucket, Key=self._key(key), **options)
            etag = answer["ETag"]
            try:
                with contextlib.closing(answer["Body"]) as body:
                    for chunk in body.iter_chunks(CHUNK_BYTES):
                        position += len(chunk)
                        yield chunk
            except _BROKEN_READS as error:
                attempts += 1
                if attempts >= ATTEMPTS:
                    message = f"Reading {key!r} from {self.describe()} broke at byte {position}"
                    raise StorageError(f"{message}: {redact(str(error))}", key) from error
            else:
                return

    def get_bytes(self, key: str) -> bytes:
        """Return a small object."""
        return b"".join(self.open_stream(key))

    def list(self, prefix: str) -> list[StoredObject]:
        """Return the objects whose key begins with ``prefix``."""
        skip = len(self.prefix) + 1 if self.prefix else 0
        found = []
        with _storage_errors(prefix):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._key(prefix)
            )
            for page in pages:
                for item in page.get("Contents", []):
                    found.append(StoredObject(item["Key"][skip:], item["Size"]))
        return sorted(found)

    def size(self, key: str) -> int | None:
        """Return the object's length in bytes, or None."""
        try:
            with _storage_errors(key):
                return self._s3.head_object(Bucket=self.bucket, Key=self._key(key))["ContentLength"]
        except StorageError as error:
            if _is_not_found(error.__cause__):
                return None
            raise

    def exists(self, key: str) -> bool:
        """Whether there is an object under ``key``."""
        return self.size(key) is not None

    def delete(self, key: str) -> None:
        """Remove an object; harmless when there is none."""
        try:
            with _storage_errors(key):
                self._s3.delete_object(Bucket=self.bucket, Key=self._key(key))
        except StorageError as error:
            if not _is_not_found(error.__cause__):
                raise


def _is_not_found(error: BaseException | None) -> bool:
    return isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in _NOT_FOUND


@contextlib.contextmanager
def _storage_errors(key: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, HTTPError) as error:
        if _is_not_found(error):
            raise StorageError(f"{key!r} is not in the bucket", key) from error
        raise StorageError(f"Storage failed for {key!r}: {redact(str(error))}", key) from error

"""S3: immutable artifacts, records written last, and the few objects that change.

Knows nothing of what is stored. Every key but those given to `swap` is written once; a second
write of the same content is harmless, so a late PUT that had timed out is harmless too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from whisper_retrain.errors import (
    ConflictError,
    InputError,
    IntegrityError,
    PermanentError,
    StorageError,
    StorageFullError,
)
from whisper_retrain.records import Artifact, Record
from whisper_retrain.whole import whole_file

RecordT = TypeVar("RecordT", bound=Record)

CHUNK_BYTES = 1 << 20
SWAPS = 5
"""Tries to put a record in the place of what somebody else keeps changing."""


class ObjectStore(Protocol):
    """What the stages need of S3; keys are relative to the store's prefix."""

    def uri(self, key: str) -> str: ...
    def key(self, uri: str) -> str: ...
    def exists(self, key: str) -> bool: ...
    def keys(self, prefix: str) -> Iterator[str]: ...
    def read(self, key: str) -> bytes: ...
    def read_versioned(self, key: str) -> tuple[bytes, str] | None: ...
    def write(self, key: str, data: bytes, content_type: str = ...) -> Artifact: ...
    def upload(self, key: str, path: Path, content_type: str = ...) -> Artifact: ...
    def download(self, artifact: Artifact, target: Path) -> Path: ...
    def create(self, key: str, data: bytes) -> bool: ...
    def swap(self, key: str, data: bytes, version: str | None) -> str: ...
    def delete(self, key: str) -> None: ...


def read_record(store: ObjectStore, key: str, kind: type[RecordT]) -> RecordT | None:
    """The record at `key`, or None when the stage has not finished."""
    found = store.read_versioned(key)
    return kind.model_validate_json(found[0]) if found else None


def write_record(store: ObjectStore, key: str, record: Record) -> Artifact:
    """Write a record; call it last, when everything it names is stored."""
    return store.write(key, record.model_dump_json(indent=1).encode(), "application/json")


def swap_record(store: ObjectStore, key: str, record: Record, remedy: str) -> None:
    """Let a key hold this record, whoever else writes there; the last one wins.

    ConflictError with this remedy when others keep changing it.
    """
    data = record.model_dump_json().encode()
    for _ in range(SWAPS):
        found = store.read_versioned(key)
        if found and found[0] == data:
            return
        try:
            store.swap(key, data, found[1] if found else None)
        except ConflictError:
            continue
        return
    raise ConflictError("a record keeps changing", where=store.uri(key), remedy=remedy)


def sha256_of(path: Path) -> str:
    """sha256 (hex) of a file, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class S3Store:
    """An S3 bucket and prefix, reached with boto3's own settings (AWS_*)."""

    def __init__(self, location: str, client: Any | None = None) -> None:
        self.location = location.rstrip("/")
        bucket, _, prefix = self.location.removeprefix("s3://").partition("/")
        self.bucket, self.prefix = bucket, f"{prefix}/" if prefix else ""
        self._given = client
        self._own, self._own_pid = client or s3_client(), os.getpid()

    @property
    def _client(self) -> Any:
        """This process's client: one from before a fork would share its connections."""
        if self._given is None and self._own_pid != os.getpid():
            self._own, self._own_pid = s3_client(), os.getpid()
        return self._own

    def __reduce__(self) -> tuple[type[S3Store], tuple[str]]:
        return S3Store, (self.location,)

    def uri(self, key: str) -> str:
        """s3://bucket/prefix/key."""
        return f"{self.location}/{key}"

    def key(self, uri: str) -> str:
        """The key of a URI of this store."""
        if not uri.startswith(f"{self.location}/"):
            raise InputError(
                "artifact lies in another store",
                where=uri,
                expected=f"a URI under {self.location}/",
                remedy="set WHISPER_RETRAIN_STORE to the store that the record was written in",
            )
        return uri[len(self.location) + 1 :]

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def exists(self, key: str) -> bool:
        """Whether an object is there."""
        with translated(self.uri(key)) as missing:
            self._client.head_object(**self._at(key))
        return not missing

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys under a prefix, in order."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix + prefix
        )
        with translated(self.uri(prefix)):
            for page in pages:
                for item in page.get("Contents", ()):
                    yield item["Key"][len(self.prefix) :]

    def read(self, key: str) -> bytes:
        """The bytes of an object that must be there."""
        found = self.read_versioned(key)
        if found is None:
            raise PermanentError(
                "object is missing", where=self.uri(key), remedy="was it deleted by hand?"
            )
        return found[0]

    def read_versioned(self, key: str) -> tuple[bytes, str] | None:
        """Bytes and version (ETag), or None when there is no such object."""
        with translated(self.uri(key)) as missing:
            answer = self._client.get_object(**self._at(key))
            data = answer["Body"].read()
        return None if missing else (data, answer["ETag"])

    def write(
        self, key: str, data: bytes, content_type: str = "application/octet-stream"
    ) -> Artifact:
        """Store bytes."""
        with translated(self.uri(key), missing_ok=False):
            self._client.put_object(**self._at(key), Body=data, ContentType=content_type)
        return Artifact(
            uri=self.uri(key), sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data)
        )

    def upload(
        self, key: str, path: Path, content_type: str = "application/octet-stream"
    ) -> Artifact:
        """Store a file, in parts where it is large."""
        with translated(self.uri(key), missing_ok=False):
            self._client.upload_file(
                str(path), self.bucket, self.prefix + key, ExtraArgs={"ContentType": content_type}
            )
        return Artifact(uri=self.uri(key), sha256=sha256_of(path), size_bytes=path.stat().st_size)

    def download(self, artifact: Artifact, target: Path) -> Path:
        """Fetch an artifact to `target`, verified; `target` appears whole or not at all."""
        with whole_file(target) as draft:
            with translated(artifact.uri, missing_ok=False):
                self._client.download_file(
                    self.bucket, self.prefix + self.key(artifact.uri), str(draft)
                )
            verify(draft, artifact)
        return target

    def create(self, key: str, data: bytes) -> bool:
        """Store bytes unless the key exists; False when it holds other bytes already."""
        try:
            self.swap(key, data, None)
        except ConflictError:
            return False
        return True

    def swap(self, key: str, data: bytes, version: str | None) -> str:
        """Replace `version` (None: nothing there) by `data`; returns the new version.

        Raises ConflictError when the object is at another version and holds other bytes. One's
        own write whose answer was lost looks like a conflict, hence the look at the bytes.
        """
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            with translated(self.uri(key), missing_ok=False):
                answer = self._client.put_object(
                    **self._at(key), Body=data, ContentType="application/json", **condition
                )
        except ConflictError:
            now = self.read_versioned(key)
            if now is None or now[0] != data:
                raise
            return now[1]
        return str(answer["ETag"])

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when there is none."""
        with translated(self.uri(key)):
            self._client.delete_object(**self._at(key))


def s3_client(attempts: int = 5) -> Any:
    """A boto3 client with the environment's own settings, and retries that make sense here."""
    import boto3
    from botocore.config import Config

    config = Config(
        signature_version="s3v4",
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": attempts},
        s3={"addressing_style": "path"} if os.environ.get("AWS_ENDPOINT_URL_S3") else {},
    )
    # A session of its own: the default one keeps its first credentials, and no thread may share it.
    return boto3.session.Session().client("s3", config=config)


def verify(path: Path, artifact: Artifact) -> None:
    """Raise IntegrityError unless the file has the artifact's sha256."""
    found = sha256_of(path)
    if found != artifact.sha256:
        raise IntegrityError(
            "stored bytes are not what the record says",
            where=artifact.uri,
            expected=f"sha256 {artifact.sha256}, {artifact.size_bytes} bytes",
            got=f"sha256 {found}, {path.stat().st_size} bytes",
            remedy="delete the stage's prefix and run the stage again",
        )


@contextmanager
def translated(uri: str, *, missing_ok: bool = True) -> Iterator[list[str]]:
    """Turn botocore's errors into ours; a missing object is noted in the yielded list."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    missing: list[str] = []
    try:
        yield missing
    except NoCredentialsError as error:
        raise InputError(
            "no S3 credentials",
            where=uri,
            remedy="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use an instance role",
        ) from error
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if missing_ok and code in {"404", "NoSuchKey", "NotFound"}:
            missing.append(code)
            return
        raise _from_client_error(uri, code, error) from error
    except S3UploadFailedError as error:
        cause = error.__context__
        if isinstance(cause, ClientError):
            code = str(cause.response.get("Error", {}).get("Code", ""))
            raise _from_client_error(uri, code, cause) from error
        raise StorageError("upload to S3 failed", where=uri, got=str(error)) from error
    except BotoCoreError as error:
        raise StorageError(
            "S3 could not be reached",
            where=uri,
            got=f"{type(error).__name__}: {error}",
            remedy="is AWS_ENDPOINT_URL_S3 right and the server up?",
        ) from error


def _from_client_error(uri: str, code: str, error: Any) -> Exception:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in {"PreconditionFailed", "ConditionalRequestConflict"} or status == 412:
        return ConflictError("somebody else changed the object first", where=uri)
    if code == "NoSuchBucket":
        return InputError(
            "the S3 bucket does not exist",
            where=uri,
            remedy="create the bucket or set WHISPER_RETRAIN_STORE",
        )
    if status in {401, 403}:
        return InputError(
            "S3 refused the credentials",
            where=uri,
            got=f"{status} {code}",
            remedy="check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy",
        )
    if status == 507 or "space" in str(error).lower():
        return StorageFullError("the S3 server has no room left", where=uri, got=str(error))
    if status >= 500 or code in {"SlowDown", "RequestTimeout"}:
        return StorageError("S3 failed", where=uri, got=f"{status} {code}")
    return PermanentError("S3 refused the request", where=uri, got=f"{status} {code}: {error}")

"""Folders, archives and S3 prefixes as one thing: paths with a stamp that changes with content.

Knows nothing of listings. Nothing outside the place can be read: neither by `..`, nor by an
absolute path, nor by a symbolic link. Archives are read in place and never unpacked.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from whisper_retrain.errors import InputError

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")


class OutsideError(ValueError):
    """A path that leads out of the folder."""


class Tree(Protocol):
    """What a listing needs of the place that it lies in."""

    location: str

    def stamps(self) -> dict[str, str]: ...
    def read(self, path: str) -> bytes: ...


def open_tree(location: str) -> Tree:
    """The folder, archive or S3 prefix at a location."""
    if location.startswith("s3://"):
        return S3Tree(location)
    if location.endswith(".zip"):
        return ZipTree(location)
    return TarTree(location) if location.endswith(TAR_ENDINGS) else FolderTree(location)


def inside(path: str) -> str:
    """A relative path in its normal form; raises OutsideError when it leads out."""
    pure = PurePosixPath(path.replace("\\", "/"))
    drive = len(pure.parts) > 0 and pure.parts[0].endswith(":")
    if pure.is_absolute() or drive or ".." in pure.parts or "\0" in path:
        raise OutsideError(f"{path!r} leads out of the folder")
    return pure.as_posix()


class FolderTree:
    """A local folder; the stamp of a file is its size and time of change."""

    def __init__(self, location: str) -> None:
        self.location = location
        self._root = Path(location).resolve()
        if not self._root.is_dir():
            raise InputError("no such folder", where=location, remedy="check the source's location")

    def stamps(self) -> dict[str, str]:
        """Relative path -> stamp of every file in the folder, links out of it left away."""
        found: dict[str, str] = {}
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                relative = path.relative_to(self._root).as_posix()
                if path.is_symlink() and not self._is_inside(path):
                    continue
                status = path.stat()
                found[relative] = f"{status.st_size}:{status.st_mtime_ns}"
        return found

    def _is_inside(self, path: Path) -> bool:
        resolved = path.resolve()
        return resolved.is_relative_to(self._root) and resolved.is_file()

    def read(self, path: str) -> bytes:
        """Bytes of a file; raises OutsideError or FileNotFoundError."""
        target = self._root / inside(path)
        if not target.exists():
            raise FileNotFoundError(path)
        if not self._is_inside(target):
            raise OutsideError(f"{path!r} leads out of the folder")
        return target.read_bytes()


class ZipTree:
    """A zip archive; the stamp of a file is its size and checksum."""

    def __init__(self, location: str) -> None:
        self.location = location
        try:
            self._archive = zipfile.ZipFile(location)
        except (OSError, zipfile.BadZipFile) as error:
            raise _no_archive(location, error) from error

    def stamps(self) -> dict[str, str]:
        """Path -> stamp of every file; raises InputError for a path that leads out."""
        files = [info for info in self._archive.infolist() if not info.is_dir()]
        return {_member(i.filename, self.location): f"{i.file_size}:{i.CRC:08x}" for i in files}

    def read(self, path: str) -> bytes:
        """Bytes of a file; raises FileNotFoundError."""
        try:
            return self._archive.read(path)
        except KeyError as error:
            raise FileNotFoundError(path) from error
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise _no_archive(f"{self.location}/{path}", error) from error


class TarTree:
    """A tar archive; the stamp of a file is its size and time of change. Links are left away."""

    def __init__(self, location: str) -> None:
        self.location = location
        try:
            self._archive = tarfile.open(location)  # noqa: SIM115  # open as long as the tree is
            self._members = {_member(m.name, location): m for m in self._archive if m.isfile()}
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise _no_archive(location, error) from error

    def stamps(self) -> dict[str, str]:
        """Path -> stamp of every file."""
        return {path: f"{m.size}:{m.mtime}" for path, m in self._members.items()}

    def read(self, path: str) -> bytes:
        """Bytes of a file; raises FileNotFoundError."""
        if path not in self._members:
            raise FileNotFoundError(path)
        file = self._archive.extractfile(self._members[path])
        return file.read() if file else b""


def _member(name: str, location: str) -> str:
    try:
        return inside(name)
    except OutsideError as error:
        raise InputError(
            "the archive holds a path that leads out of it",
            where=location,
            got=name,
            remedy="do not trust this archive; pack it again without such paths",
        ) from error


def _no_archive(location: str, error: Exception) -> InputError:
    return InputError(
        "not a whole archive", where=location, got=str(error), remedy="fetch or pack it again"
    )


class S3Tree:
    """An S3 prefix; the stamp of an object is its ETag and size."""

    def __init__(self, location: str, client: Any | None = None) -> None:
        from whisper_retrain.edges.store import s3_client

        self.location = location.rstrip("/")
        bucket, _, prefix = self.location.removeprefix("s3://").partition("/")
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._client = client or s3_client()

    def stamps(self) -> dict[str, str]:
        """Relative key -> stamp of every object under the prefix, or an error: never a part."""
        from whisper_retrain.edges.store import translated

        found: dict[str, str] = {}
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        with translated(self.location, missing_ok=False):
            for page in pages:
                for item in page.get("Contents", ()):
                    relative = item["Key"][len(self._prefix) :]
                    found[relative] = f"{item['ETag']}:{item['Size']}"
        return found

    def read(self, path: str) -> bytes:
        """Bytes of an object; raises OutsideError or FileNotFoundError."""
        from whisper_retrain.edges.store import translated

        key = self._prefix + inside(path)
        with translated(f"{self.location}/{path}") as missing:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            data: bytes = answer["Body"].read()
        if missing:
            raise FileNotFoundError(path)
        return data

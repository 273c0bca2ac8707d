"""Large files of one repository, named by sha256, and their pointers in git.

A file appears under its name by one rename, after size and digest held; until then it lies in the
server's tmp folder. Knows nothing of HTTP requests or of who may upload.
"""

import hashlib
import hmac
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loopback_hub.answers import bad_request

MAX_POINTER_BYTES = 1024  # https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)


@dataclass(frozen=True)
class LfsPointer:
    """What git stores in place of a large file."""

    sha256: str
    size: int

    def encode(self) -> bytes:
        """The pointer file, as git-lfs writes it."""
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\n"
            f"size {self.size}\n"
        ).encode()

    @staticmethod
    def decode(blob: bytes) -> "LfsPointer | None":
        """Read a pointer file; None when the blob is ordinary content."""
        match = _POINTER.fullmatch(blob) if len(blob) <= MAX_POINTER_BYTES else None
        return match and LfsPointer(match[1].decode(), int(match[2]))


class LfsStore:
    """The `lfs` folder of one repository."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, sha256: str) -> Path:
        """Where the file lies, or will lie. Refuses anything that is no sha256."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise bad_request(f"LFS oid must be 64 lower-case hex digits, got {sha256!r}")
        return self._folder / sha256[:2] / sha256[2:4] / sha256

    def size(self, sha256: str) -> int | None:
        """Size in bytes of a stored file, None when it isn't there."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None


class Incoming:
    """A large file on its way in: hashed while written, kept only if it is what was announced."""

    def __init__(self, tmp: Path, expected: LfsPointer) -> None:
        handle, name = tempfile.mkstemp(dir=tmp, prefix="lfs-")
        self._file, self._path = os.fdopen(handle, "wb"), Path(name)
        self._expected, self._hash, self._size = expected, hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        """Append; stops an upload that is longer than announced."""
        self._size += len(data)
        if self._size > self._expected.size:
            raise bad_request(f"Upload is longer than the {self._expected.size} bytes announced")
        self._hash.update(data)
        self._file.write(data)

    def keep(self, store: LfsStore) -> None:
        """Check size and digest, then make the file appear in the store at once."""
        got = LfsPointer(self._hash.hexdigest(), self._size)
        if got != self._expected:
            raise bad_request(f"Upload is not what was announced: {self._expected}, got {got}")
        self._file.flush()
        os.fsync(self._file.fileno())
        target = store.path(got.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)

    def close(self) -> None:
        """Release the file, and remove it unless it was kept."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def sign(secret: bytes, *parts: object) -> str:
    """HMAC-SHA256 over the parts of an upload URL, which is used without a token."""
    return hmac.new(secret, "\n".join(map(str, parts)).encode(), "sha256").hexdigest()

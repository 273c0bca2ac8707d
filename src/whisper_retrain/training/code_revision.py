"""Which code is running: the version, and a digest of the library's own sources."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path


@cache
def code_revision() -> str:
    """`version+digest`: also tells an edited checkout from a release, without git."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
    return f"{version('whisper-retrain')}+{digest.hexdigest()[:12]}"

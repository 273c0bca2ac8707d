"""Directories that appear whole or not at all, however the process ends."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def appearing_whole(target: Path) -> Iterator[Path]:
    """A draft directory that becomes `target` when the block ends well, and goes otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield draft
        draft.chmod(0o755)
        os.replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)

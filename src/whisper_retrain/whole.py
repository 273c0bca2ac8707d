"""Files and folders that appear whole or not at all, however the process ends.

A draft lies beside its target, under a name that no other thread or process takes, and becomes the
target by one rename.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write to, which becomes `target` when the block ends well and goes otherwise."""
    draft = _draft_of(target)
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path, *, first_stays: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block ends well and goes otherwise.

    A target that is there by then is an error, but with `first_stays`: then somebody else, who
    made the same, was quicker.
    """
    draft = _draft_of(target)
    draft.mkdir()
    try:
        yield draft
        try:
            draft.rename(target)
        except OSError:
            if not (first_stays and target.is_dir()):
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_whole(target: Path, data: str | bytes, *, private: bool = False) -> None:
    """Write a file, whole and on the disk; `private`: only its owner can read it."""
    with whole_file(target) as draft:
        _write(draft, data, 0o600 if private else 0o666)


def write_first(target: Path, data: str | bytes) -> bool:
    """Write a file, whole, unless it is there: the first one stays. Whether this was the first."""
    draft = _draft_of(target)
    try:
        _write(draft, data, 0o666)
        os.link(draft, target)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def _draft_of(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    # Of an earlier process with these numbers, which was killed.
    if draft.is_dir():
        shutil.rmtree(draft)
    draft.unlink(missing_ok=True)
    return draft


def _write(path: Path, data: str | bytes, mode: int) -> None:
    content = data.encode() if isinstance(data, str) else data
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

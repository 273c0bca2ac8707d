"""Files and folders appear whole or not at all; what fails for a while is tried again."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from whisper_retrain.errors import InputError, TransientError
from whisper_retrain.retries import retried
from whisper_retrain.whole import whole_file, whole_folder, write_first, write_whole


def fill_halfway(whole: AbstractContextManager[Path]) -> None:
    with whole as draft:
        (draft / "config.json" if draft.is_dir() else draft).write_text("half")
        raise OSError("full")


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "record.json"
    with whole_file(target) as draft:
        draft.write_text("half")
        assert not target.exists()
        draft.write_text("whole")
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_what_fails_halfway_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "record.json"
    write_whole(target, "old")
    for whole in (whole_file(target), whole_folder(tmp_path / "model")):
        with pytest.raises(OSError, match="full"):
            fill_halfway(whole)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_private_file_is_for_its_owner_only(tmp_path: Path) -> None:
    write_whole(tmp_path / "keys.json", b"secret", private=True)
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0


def test_of_two_writers_the_first_stays(tmp_path: Path) -> None:
    assert write_first(tmp_path / "error.json", "first")
    assert not write_first(tmp_path / "error.json", "second")
    assert (tmp_path / "error.json").read_text() == "first"
    for text in ("first", "second"):
        with whole_folder(tmp_path / "model", first_stays=True) as draft:
            (draft / "weights").write_text(text)
    assert (tmp_path / "model" / "weights").read_text() == "first"
    with pytest.raises(OSError, match="not empty"), whole_folder(tmp_path / "model") as draft:
        (draft / "weights").write_text("third")


def test_only_what_may_pass_is_tried_again_and_not_for_ever() -> None:
    tries: list[int] = []

    def fails_twice() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise TransientError("busy")
        return "done"

    def never_works() -> str:
        tries.append(1)
        raise TransientError("down")

    assert retried(fails_twice, attempts=5, first_pause_s=0.01) == "done"
    assert len(tries) == 3
    with pytest.raises(TransientError, match="down"):
        retried(never_works, attempts=2, first_pause_s=0.01)
    assert len(tries) == 5
    with pytest.raises(TransientError, match="down"):
        retried(never_works, patience_s=0.05, first_pause_s=0.01, longest_pause_s=0.02)

    def wrong() -> str:
        tries.append(1)
        raise InputError("no such thing")

    tries.clear()
    with pytest.raises(InputError):
        retried(wrong, attempts=5)
    assert len(tries) == 1

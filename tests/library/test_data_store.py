"""The S3 edge on a real server: what the stages rely on."""

import pytest

from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import ConflictError


def test_compare_and_swap_lets_one_writer_win(s3_store: S3Store) -> None:
    first = s3_store.swap("pointer", b"1", None)
    second = s3_store.swap("pointer", b"2", first)
    assert second != first
    with pytest.raises(ConflictError):
        s3_store.swap("pointer", b"3", first)
    assert s3_store.read("pointer") == b"2"


def test_a_write_whose_answer_was_lost_is_no_conflict(s3_store: S3Store) -> None:
    version = s3_store.swap("pointer", b"1", None)
    assert s3_store.swap("pointer", b"1", None) == version


def test_a_missing_object_is_none_and_keys_are_listed_in_order(s3_store: S3Store) -> None:
    assert s3_store.read_versioned("nothing") is None
    for key in ("a/2", "a/1", "b/1"):
        s3_store.write(key, b"x")
    assert list(s3_store.keys("a/")) == ["a/1", "a/2"]

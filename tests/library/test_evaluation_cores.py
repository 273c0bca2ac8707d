"""A batch in shares: in its order, with torch's threads divided and given back afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fixtures.evaluation import tiny_whisper
from whisper_retrain.config import DecodingConfig
from whisper_retrain.evaluation.cores import SHARE_UTTERANCES, in_shares
from whisper_retrain.evaluation.transformers_runtime import load_transcriber


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def square(numbers: Sequence[int]) -> list[int]:
    return [number**2 for number in numbers]


@pytest.mark.parametrize("count", [0, 1, 5, 8, 9, 23, 64])
@pytest.mark.parametrize("least", [1, 2, 3, 100])
def test_results_come_in_the_order_of_the_items(count: int, least: int) -> None:
    assert in_shares(square, range(count), least) == square(range(count))


@pytest.mark.parametrize(
    ("count", "shares"), [(1, [1]), (7, [7]), (8, [4, 4]), (13, [5, 4, 4]), (40, [10, 10, 10, 10])]
)
def test_no_more_shares_than_threads_and_none_under_the_least(
    count: int, shares: list[int]
) -> None:
    seen: list[int] = []

    def work(items: Sequence[int]) -> Sequence[int]:
        seen.append(len(items))
        return items

    in_shares(work, range(count), least=4)
    assert sorted(seen, reverse=True) == shares


def test_shares_run_at_once_with_their_part_of_the_threads() -> None:
    together = threading.Barrier(2, timeout=30)

    def work(items: Sequence[int]) -> list[int]:
        together.wait()
        return [torch.get_num_threads() for _ in items]

    assert in_shares(work, range(8), least=4) == [2] * 8
    assert torch.get_num_threads() == 4


def test_the_threads_are_given_back_after_an_error() -> None:
    def work(items: Sequence[int]) -> list[int]:
        raise MemoryError("no more")

    with pytest.raises(MemoryError, match="no more"):
        in_shares(work, range(8), least=4)
    assert torch.get_num_threads() == 4


def test_a_model_writes_in_shares_what_it_writes_on_one_thread(tmp_path: Path) -> None:
    transcriber = load_transcriber(tiny_whisper(tmp_path / "tiny"), DecodingConfig(), "cpu")
    rng = np.random.default_rng(1)
    count = 2 * SHARE_UTTERANCES + 1
    audios = [rng.normal(0, 0.1, 8000 + 800 * n).astype(np.float32) for n in range(count)]
    shared = transcriber.transcribe(audios)
    torch.set_num_threads(1)
    assert shared == transcriber.transcribe(audios)

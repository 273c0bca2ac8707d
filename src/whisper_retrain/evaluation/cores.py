"""A batch shared out over the cores of a CPU, each of which works on utterances of its own.

Within one forward pass the cores wait for the slowest at every operation, and what lies between,
Python and small operations, keeps one of them busy. Cores with shares of their own never wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

SHARE_UTTERANCES = 8
"""The fewest in a share: the decoder reads all its weights for each token of a share, which at 4
utterances costs it a third more processor time, at 8 a twentieth (Whisper tiny, Zen 3)."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_shares(
    work: Callable[[Sequence[Item]], Sequence[Result]],
    items: Sequence[Item],
    least: int = SHARE_UTTERANCES,
) -> list[Result]:
    """The results of `work`, one an item, in the order of the items.

    Items are dealt out like cards, so that shares of sorted items take equally long. While the
    shares run, torch's number of threads, which the whole process has in common, is divided by
    theirs: nothing else should compute with torch in this process meanwhile.
    """
    import torch

    threads = torch.get_num_threads()
    shares = max(1, min(threads, len(items) // least))
    if shares == 1:
        return list(work(items))
    results: dict[int, Result] = {}
    torch.set_num_threads(threads // shares)
    try:
        # A new thread takes over the number set last; an old one would keep its own.
        with ThreadPoolExecutor(shares) as pool:
            found = list(pool.map(work, (items[share::shares] for share in range(shares))))
    finally:
        torch.set_num_threads(threads)
    for share, part in enumerate(found):
        results |= zip(range(share, len(items), shares), part, strict=True)
    return [results[place] for place in range(len(items))]

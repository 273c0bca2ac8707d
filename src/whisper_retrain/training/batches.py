"""Which utterances make a step, in which pieces: a pure function of seed and step.

Knows nothing of audio or torch. Since step s always draws the same utterances, whatever ran before
it, the data position of a training that resumes is its step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from whisper_retrain.whisper_constants import CONTEXT_S, POSITION_S

# Contexts are multiples of so many encoder positions: few shapes, which suits kernels.
CONTEXT_QUANTUM_S = 16 * POSITION_S


@dataclass(frozen=True)
class StepPlan:
    """The utterances of one optimizer step (its effective batch), by index."""

    step: int
    """From 0."""
    indices: tuple[int, ...]
    """Of the train split's usable utterances."""
    full_context: bool
    """Whether its pieces are padded to 30 s."""


@dataclass(frozen=True, eq=False)  # told apart by identity: hashing all durations costs
class BatchPlan:
    """All steps of a training over utterances of these durations."""

    durations_s: tuple[float, ...]
    """Of all utterances."""
    batch_size: int
    """Utterances a step, over all processes."""
    seed: int
    """Of the order."""
    bucket_batches: int = 8
    """Batches in a pool that is sorted by length."""
    full_context_share: float = 0.0
    """Of the steps that are padded to 30 s."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which an epoch's utterances are used up; the rest (< one batch) is left out."""
        return max(1, len(self.durations_s) // self.batch_size)

    def at(self, step: int) -> StepPlan:
        """The plan of step 0, 1, ..."""
        epoch, position = divmod(step, self.steps_per_epoch)
        batch = _epoch(self, epoch)[position]
        # Evenly spread, and exactly the share in the long run.
        share = self.full_context_share
        full = math.floor((step + 1) * share) > math.floor(step * share)
        return StepPlan(step, tuple(int(index) for index in batch), full)


@lru_cache(maxsize=2)
def _epoch(plan: BatchPlan, epoch: int) -> npt.NDArray[np.int64]:
    """Batches of one epoch, shape (steps, batch_size): random, but alike in length within a batch.

    Utterances are shuffled, then sorted by length within pools of `bucket_batches` batches, cut
    into batches, and the batches shuffled.
    """
    rng = np.random.default_rng([plan.seed, epoch])
    count, size = len(plan.durations_s), plan.batch_size
    needed = plan.steps_per_epoch * size
    order = np.concatenate([rng.permutation(count) for _ in range(math.ceil(needed / count))])
    order = order[:needed]
    durations = np.asarray(plan.durations_s)
    pool = size * plan.bucket_batches
    if plan.bucket_batches > 1:
        for start in range(0, needed, pool):
            part = order[start : start + pool]
            order[start : start + pool] = part[np.argsort(durations[part], kind="stable")]
    batches: npt.NDArray[np.int64] = order.reshape(-1, size)
    rng.shuffle(batches, axis=0)
    return batches


def context_s(longest_s: float, margin_s: float) -> float:
    """Length to which a piece is padded: its longest utterance and some silence, at most 30 s."""
    quanta = math.ceil(round((longest_s + margin_s) / CONTEXT_QUANTUM_S, 6))
    return min(CONTEXT_S, quanta * CONTEXT_QUANTUM_S)


def micro_batches(
    durations_s: Sequence[float], budget_s: float, margin_s: float, full_context: bool
) -> list[list[int]]:
    """Cut a batch into pieces of at most `budget_s` padded audio seconds; positions, by length.

    Every utterance is in one piece; an utterance longer than the budget is a piece of its own.
    """
    pieces: list[list[int]] = []
    for index in sorted(range(len(durations_s)), key=lambda i: (-durations_s[i], i)):
        if pieces:
            longest = durations_s[pieces[-1][0]]
            padded_s = CONTEXT_S if full_context else context_s(longest, margin_s)
            if (len(pieces[-1]) + 1) * padded_s <= budget_s:
                pieces[-1].append(index)
                continue
        pieces.append([index])
    return pieces


def share_of(plan: StepPlan, durations_s: Sequence[float], rank: int, ranks: int) -> list[int]:
    """Utterances of one process: every n-th by length, so that all have as much to do."""
    ordered = sorted(plan.indices, key=lambda index: -durations_s[index])
    return ordered[rank::ranks]

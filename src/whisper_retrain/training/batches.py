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
PAUSE_S = (0.3, 1.5)
"""Between utterances of a window, as somebody dictates sentence after sentence."""
MEAN_PAUSE_S = sum(PAUSE_S) / 2
LONGEST_FILL = 1.2
"""Of a window's 30 s."""


@dataclass(frozen=True)
class Window:
    """30 s of audio in which utterances of one speaker follow one another, or nobody speaks."""

    indices: tuple[int, ...]
    """In the order in which they are spoken, as far as they fit; none: no speech."""
    seed: int
    """Of its pauses, its background, and whether its labels hold timestamps."""


Portion = int | Window
"""One row of a batch: an utterance by itself, or a window."""


@dataclass(frozen=True)
class StepPlan:
    """The utterances of one optimizer step (its effective batch), by index."""

    step: int
    """From 0."""
    indices: tuple[int, ...]
    """Heard by themselves; of the train split's usable utterances."""
    windows: tuple[Window, ...] = ()
    """Heard one after the other, as in a dictation."""


@dataclass(frozen=True)
class Packing:
    """How many utterances are heard in windows of 30 s, and how full those are."""

    share: float = 0.0
    """Of the utterances."""
    at_most: int | None = None
    """Utterances in a window; 1: each alone in its 30 s. None: as many as fit."""
    silent_share: float = 0.0
    """Windows without speech, relative to those with."""


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
    packing: Packing = Packing()
    """Of windows."""
    speakers: tuple[str | None, ...] = ()
    """Of all utterances, for windows; none: all count as one."""
    new: tuple[bool, ...] = ()
    """Which utterances are new: with some, every other one that is drawn is one of them."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which an epoch's utterances are used up; the rest (< one batch) is left out."""
        return max(1, len(self.durations_s) // self.batch_size)

    def at(self, step: int) -> StepPlan:
        """The plan of step 0, 1, ..."""
        epoch, position = divmod(step, self.steps_per_epoch)
        indices, windows = _epoch(self, epoch)[position]
        return StepPlan(step, indices, windows)


@lru_cache(maxsize=2)
def _epoch(plan: BatchPlan, epoch: int) -> list[tuple[tuple[int, ...], tuple[Window, ...]]]:
    """One epoch's steps: random, but utterances by themselves alike in length within a step.

    Utterances are shuffled. Those that are heard by themselves are sorted by length within pools
    of `bucket_batches` batches and cut into batches; these and the windows are shuffled again.
    """
    rng = np.random.default_rng([plan.seed, epoch])
    steps = plan.steps_per_epoch
    needed = steps * plan.batch_size
    order = _order(plan, needed, rng)
    # Each step keeps an utterance by itself: there may be fewer windows than steps.
    packed = min(round(plan.packing.share * needed), needed - steps)
    alone, together = order[: needed - packed], order[needed - packed : needed]
    durations = np.asarray(plan.durations_s)
    pool = round(len(alone) / steps * plan.bucket_batches)
    if plan.bucket_batches > 1:
        for start in range(0, len(alone), pool):
            part = alone[start : start + pool]
            alone[start : start + pool] = part[np.argsort(durations[part], kind="stable")]
    batches = np.array_split(alone, steps)
    windows = _windows(plan, together, rng)
    shares = np.array_split(rng.permutation(len(windows)), steps)
    return [
        (tuple(batches[place].tolist()), tuple(windows[n] for n in shares[step]))
        for step, place in enumerate(rng.permutation(steps))
    ]


def _windows(
    plan: BatchPlan, order: npt.NDArray[np.int64], rng: np.random.Generator
) -> list[Window]:
    """Utterances of one speaker put together until a length drawn by chance is reached.

    Some lengths are beyond 30 s, so that there are windows whose last utterance is cut.
    """
    by_speaker: dict[str | None, list[int]] = {}
    for index in order.tolist():
        speaker = plan.speakers[index] if plan.speakers else None
        by_speaker.setdefault(speaker, []).append(index)
    groups: list[tuple[int, ...]] = []
    for indices in by_speaker.values():
        group: list[int] = []
        length_s, wanted_s = 0.0, rng.uniform(0, LONGEST_FILL * CONTEXT_S)
        for index in indices:
            group.append(index)
            length_s += plan.durations_s[index] + MEAN_PAUSE_S
            if length_s >= wanted_s or len(group) == plan.packing.at_most:
                groups.append(tuple(group))
                group, length_s = [], 0.0
                wanted_s = rng.uniform(0, LONGEST_FILL * CONTEXT_S)
        if group:
            groups.append(tuple(group))
    groups += [()] * round(plan.packing.silent_share * len(groups))
    return [Window(group, int(rng.integers(2**63))) for group in groups]


def _order(plan: BatchPlan, needed: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """So many utterances in the order in which they are drawn; new and known ones in turn."""
    known, new = (np.flatnonzero(np.asarray(plan.new, bool) == kind) for kind in (False, True))
    if not (len(known) and len(new)):
        return _drawn(np.arange(len(plan.durations_s)), needed, rng)
    order = np.empty(needed, np.int64)
    order[::2] = _drawn(new, len(order[::2]), rng)
    order[1::2] = _drawn(known, len(order[1::2]), rng)
    return order


def _drawn(
    indices: npt.NDArray[np.int64], needed: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """All of them in random order, again and again."""
    rounds = math.ceil(needed / len(indices))
    return np.concatenate([rng.permutation(indices) for _ in range(rounds)])[:needed]


def context_s(longest_s: float, margin_s: float) -> float:
    """Length to which a piece is padded: its longest utterance and some silence, at most 30 s."""
    quanta = math.ceil(round((longest_s + margin_s) / CONTEXT_QUANTUM_S, 6))
    return min(CONTEXT_S, quanta * CONTEXT_QUANTUM_S)


def micro_batches(
    durations_s: Sequence[float], budget_s: float, margin_s: float
) -> list[list[int]]:
    """Cut a batch into pieces of at most `budget_s` padded audio seconds; positions, by length.

    Every utterance is in one piece; an utterance longer than the budget is a piece of its own.
    """
    pieces: list[list[int]] = []
    for index in sorted(range(len(durations_s)), key=lambda i: (-durations_s[i], i)):
        if pieces:
            longest = durations_s[pieces[-1][0]]
            if (len(pieces[-1]) + 1) * context_s(longest, margin_s) <= budget_s:
                pieces[-1].append(index)
                continue
        pieces.append([index])
    return pieces


def share_of(plan: StepPlan, durations_s: Sequence[float], rank: int, ranks: int) -> list[Portion]:
    """What one process hears: every n-th by length, so that all have as much to do."""
    alone = sorted(plan.indices, key=lambda index: -durations_s[index])
    ordered: list[Portion] = [*plan.windows, *alone]
    return ordered[rank::ranks]

"""Utterances on their way into the model: label ids, audio, and pieces of a batch as tensors.

Knows nothing of where utterances are stored: any object with the few attributes below will do.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from whisper_retrain.errors import InputError
from whisper_retrain.training.batches import StepPlan, context_s
from whisper_retrain.whisper_constants import CONTEXT_S, POSITION_S, SAMPLING_RATE_HZ

IGNORED = -100  # label id that the loss leaves out
LoadedT = TypeVar("LoadedT")
Wave = npt.NDArray[np.float32]
logger = logging.getLogger(__name__)


class TrainingUtterance(Protocol):
    """What training needs to know of an utterance."""

    @property
    def id(self) -> str: ...
    @property
    def reference(self) -> str: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def speaker(self) -> str | None: ...


UtteranceT = TypeVar("UtteranceT", bound=TrainingUtterance)


@dataclass(frozen=True)
class TrainingSpeech:
    """What a training hears: two splits, and the way to their audio."""

    train: Sequence[TrainingUtterance]
    """To train on."""
    validation: Sequence[TrainingUtterance]
    """To choose the checkpoint by."""
    audio: Callable[[TrainingUtterance], Wave]
    """Utterance -> its samples, mono at 16 kHz."""
    new_ids: frozenset[str] = frozenset()
    """Utterances that the model has not been trained on, where it has been on the others."""


@dataclass(frozen=True)
class Example:
    """One utterance, or a window of several, ready for a batch."""

    id: str
    """Of the utterance, or of the window's first."""
    wave: Wave
    """Samples, mono at 16 kHz, within -1..1."""
    label_ids: tuple[int, ...]
    """With prefix and end of text."""
    spoken_s: float | None = None
    """Seconds of utterances in a window; None: all of it is one."""

    @property
    def audio_s(self) -> float:
        """Seconds of utterances; a window's pauses don't count."""
        return len(self.wave) / SAMPLING_RATE_HZ if self.spoken_s is None else self.spoken_s


@dataclass(frozen=True)
class Piece:
    """A micro-batch: waveforms (n, samples), decoder input and labels (n, tokens)."""

    waves: Tensor
    """Float, (n, samples), padded with silence."""
    decoder_ids: Tensor
    """Long, (n, tokens): what the decoder is given."""
    labels: Tensor
    """Long, (n, tokens): what it should say; IGNORED is padding."""

    def pinned(self) -> Piece:
        """The same in page-locked memory, from where a GPU fetches it by itself."""
        return Piece(*(tensor.pin_memory() for tensor in vars(self).values()))

    def to(self, device: torch.device) -> Piece:
        """The same on a device."""
        return Piece(*(t.to(device, non_blocking=True) for t in vars(self).values()))


class Labels:
    """References to label ids, as Whisper was trained: prefix, text after a blank, end."""

    def __init__(self, tokenizer: Any, start_id: int, max_ids: int) -> None:
        self.tokenizer, self.start_id, self.max_ids = tokenizer, start_id, max_ids
        # The model's own start id is put before the labels; the tokenizer's prefix holds it too.
        self._prefix = tuple(tokenizer.prefix_tokens[1:])

    def ids(self, reference: str) -> tuple[int, ...]:
        """Label ids with prefix and end of text; the text's own ids may be none."""
        text = self.text_ids(reference)
        return (*self._prefix, *text, self.tokenizer.eos_token_id)

    def timed_ids(self, spoken: Sequence[tuple[float, float | None, str]]) -> tuple[int, ...]:
        """Label ids with timestamps of what is spoken in a window: (start_s, end_s, reference).

        As Whisper was trained: what is cut by the window's end (`end_s` None) has its start alone,
        from which long-form transcription goes on (Radford et al. 2022, section 2.3).
        """
        ids: list[int] = []
        for start_s, end_s, reference in spoken:
            ids.append(self._time_id(start_s))
            if end_s is not None:
                ids += [*self.text_ids(reference), self._time_id(end_s)]
        return (*self._prefix[:-1], *ids, self.tokenizer.eos_token_id)

    def _time_id(self, seconds: float) -> int:
        # The prefix ends with "no timestamps"; the id after it is that of 0 s, in steps of 20 ms.
        return int(self._prefix[-1]) + 1 + round(seconds / POSITION_S)

    def text_ids(self, reference: str) -> list[int]:
        """Ids of the text alone."""
        text = " ".join(reference.split())
        return list(self.tokenizer(f" {text}", add_special_tokens=False).input_ids) if text else []

    def fault(self, utterance: TrainingUtterance) -> str | None:
        """Why an utterance cannot be trained on, or None."""
        if not self.text_ids(utterance.reference):
            return "no label ids"
        if len(self.ids(utterance.reference)) > self.max_ids:
            return f"more than {self.max_ids} label ids"
        if utterance.duration_s > CONTEXT_S:
            return f"longer than {CONTEXT_S:.0f} s"
        return None


def usable(
    utterances: Iterable[UtteranceT], labels: Labels, split: str
) -> tuple[list[UtteranceT], dict[str, int]]:
    """Utterances that can be trained on, and how many not, by reason; InputError when none can."""
    taken, dropped = [], Counter[str]()
    for utterance in utterances:
        fault = labels.fault(utterance)
        if fault is None:
            taken.append(utterance)
            continue
        dropped[fault] += 1
        logger.warning("left out utterance %s of the %s split: %s", utterance.id, split, fault)
    if not taken:
        raise InputError(
            "no utterance to work with",
            where=f"the {split} split",
            expected="at least one utterance with a reference",
            got=", ".join(f"{n} with {why}" for why, n in dropped.items()) or "an empty split",
            remedy="check the dataset's sources and split policy",
        )
    return taken, dict(dropped)


def collate(examples: Sequence[Example], labels: Labels, margin_s: float) -> Piece:
    """Pad waveforms to their common context and label ids to the longest.

    A margin of 30 s gives them Whisper's full context.
    """
    longest_s = max(len(example.wave) for example in examples) / SAMPLING_RATE_HZ
    padded_s = context_s(longest_s, margin_s)
    waves = np.zeros((len(examples), round(padded_s * SAMPLING_RATE_HZ)), np.float32)
    width = max(len(example.label_ids) for example in examples)
    targets = np.full((len(examples), width), IGNORED, np.int64)
    inputs = np.full((len(examples), width), labels.tokenizer.eos_token_id, np.int64)
    for row, example in enumerate(examples):
        wave = example.wave[: waves.shape[1]]
        waves[row, : len(wave)] = wave
        ids = example.label_ids
        targets[row, : len(ids)] = ids
        inputs[row, : len(ids)] = (labels.start_id, *ids[:-1])
    return Piece(torch.from_numpy(waves), torch.from_numpy(inputs), torch.from_numpy(targets))


def prefetched(
    plans: Iterable[StepPlan], load: Callable[[StepPlan], LoadedT], ahead: int = 2
) -> Generator[LoadedT, None, None]:
    """What `load` makes of each plan, the next ones being made by a thread meanwhile."""
    waiting: list[Future[LoadedT]] = []
    with ThreadPoolExecutor(1, thread_name_prefix="speech") as pool:
        try:
            for plan in plans:
                waiting.append(pool.submit(load, plan))
                if len(waiting) > ahead:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()

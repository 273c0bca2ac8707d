"""The validation split, transcribed as the gate and the users do: generated, with 30 s of context.

Knows nothing of training or of the test split. Texts are normalised and counted by the very code
of the gate.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from whisper_retrain.config import DecodingConfig
from whisper_retrain.errors import OutOfMemoryError
from whisper_retrain.evaluation.scoring import count_words
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import total
from whisper_retrain.training.devices import Device, is_out_of_memory
from whisper_retrain.training.model import WhisperLoss
from whisper_retrain.training.speech import (
    IGNORED,
    Example,
    Labels,
    Piece,
    TrainingUtterance,
    collate,
)
from whisper_retrain.whisper_constants import CONTEXT_S

logger = logging.getLogger(__name__)
FEW_TOKENS = 8  # beside what speech of that length may hold: punctuation of a short word
PREFIX_ROOM = 8  # positions of the decoder that the prefix takes


@dataclass(frozen=True)
class Validation:
    """What a model makes of the validation split; WER as a fraction, loss by label id."""

    wer: float
    """Normalised, a fraction."""
    loss: float
    """Mean cross-entropy by label id, nats."""
    hypotheses: tuple[str, ...]
    """By utterance id."""


@dataclass(frozen=True)
class _Batch:
    """What a model made of some utterances."""

    hypotheses: list[str]
    """In the order of the utterances."""
    summed_loss: float
    """Cross-entropy over all label ids, nats."""
    label_ids: float
    """How many there are."""

    def __add__(self, other: _Batch) -> _Batch:
        return _Batch(
            self.hypotheses + other.hypotheses,
            self.summed_loss + other.summed_loss,
            self.label_ids + other.label_ids,
        )


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Corpus-level WER of normalised texts, as a fraction."""
    return total(
        count_words([normalize(text) for text in references], [normalize(t) for t in hypotheses])
    ).error_rate


class Validator:
    """Validates with every process's share of the split, longest utterances first."""

    def __init__(
        self,
        utterances: Sequence[TrainingUtterance],
        load: Callable[[TrainingUtterance], Example],
        labels: Labels,
        decoding: DecodingConfig,
        device: Device,
    ) -> None:
        self.labels, self.decoding, self.device, self._load = labels, decoding, device, load
        self.words = sum(len(normalize(utterance.reference).split()) for utterance in utterances)
        # Alike in length within a batch, since a batch decodes as long as its longest.
        self._ordered = sorted(utterances, key=lambda utterance: -utterance.duration_s)
        self._mine = self._ordered[device.rank :: device.ranks]

    @torch.no_grad()
    def run(self, loss: WhisperLoss, progress: Callable[[int, int], None]) -> Validation:
        """Transcribe and score; `progress(done, of)` before each batch."""
        loss.eval()
        texts: list[tuple[str, str, str]] = []
        sums = [0.0, 0.0]
        size = self.decoding.batch_size
        # As many rounds on every process, for `progress` may be where all agree to stop.
        rounds = math.ceil(math.ceil(len(self._ordered) / self.device.ranks) / size)
        for turn in range(rounds):
            progress(len(texts), len(self._mine))
            batch = self._mine[turn * size : (turn + 1) * size]
            if batch:
                longest_s = max(utterance.duration_s for utterance in batch)
                found = self._batch(loss, batch, longest_s)
                sums = [sums[0] + found.summed_loss, sums[1] + found.label_ids]
                texts += [
                    (u.id, u.reference, text)
                    for u, text in zip(batch, found.hypotheses, strict=True)
                ]
        loss.train()
        summed, tokens = self.device.sum(sums)
        everybodys = sorted(self.device.gather(texts))
        _, references, all_hypotheses = zip(*everybodys, strict=True)
        wer = word_error_rate(references, all_hypotheses)
        return Validation(wer, summed / tokens, tuple(all_hypotheses))

    def _batch(
        self, loss: WhisperLoss, batch: Sequence[TrainingUtterance], longest_s: float
    ) -> _Batch:
        """One batch; in halves when memory runs out."""
        try:
            return self._transcribed(loss, batch, longest_s)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise OutOfMemoryError(
                    "memory ran out with one utterance at a time",
                    where=f"validation on {self.device.torch}",
                    remedy="use a smaller model or a larger machine",
                ) from error
        self.device.release_memory()
        logger.warning("out of memory in validation: %d utterances in halves", len(batch))
        half = len(batch) // 2
        first, second = (
            self._batch(loss, part, longest_s) for part in (batch[:half], batch[half:])
        )
        return first + second

    def _transcribed(
        self, loss: WhisperLoss, batch: Sequence[TrainingUtterance], longest_s: float
    ) -> _Batch:
        examples = [self._load(utterance) for utterance in batch]
        piece = collate(examples, self.labels, CONTEXT_S).to(self.device.torch)
        with self.device.autocast():
            encoded = loss.whisper.model.encoder(loss.log_mel(piece.waves))
            summed = self._loss(loss, piece, encoded)
            ids = self._generate(loss.whisper, encoded, longest_s)
        texts = self.labels.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return _Batch(texts, summed, float((piece.labels != IGNORED).sum()))

    def _loss(self, loss: WhisperLoss, piece: Piece, encoded: Any) -> float:
        decoded = loss.whisper.model(
            encoder_outputs=encoded, decoder_input_ids=piece.decoder_ids, use_cache=False
        )
        return float(loss.summed_loss(decoded.last_hidden_state, piece.labels))

    def _generate(self, whisper: Any, encoded: Any, longest_s: float) -> Any:
        bound = math.ceil(longest_s * self.decoding.max_tokens_per_s) + FEW_TOKENS
        room = whisper.config.max_target_positions - PREFIX_ROOM
        return whisper.generate(
            encoder_outputs=encoded,
            max_new_tokens=min(bound, room),
            num_beams=self.decoding.num_beams,
            do_sample=False,
        )

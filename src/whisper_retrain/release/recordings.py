"""Recordings of the test set: to verify a published model with, and to hear in the report.

Knows nothing of models. Recordings leave the store only for these two uses, never for the Hub.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from typing import Any

from whisper_retrain.config import DecodingConfig
from whisper_retrain.data.manifest import Utterance
from whisper_retrain.data.shards import AudioShards
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.precision import is_decoding
from whisper_retrain.evaluation.rows import Evaluation, Row
from whisper_retrain.records import digest_of, total
from whisper_retrain.release.verify import JudgedText, Trial
from whisper_retrain.whisper_constants import SAMPLING_RATE_HZ

TRIED = 8
"""Test utterances that a published model is tried with."""
DICTATION_S = 75.0
"""Long enough for three windows of Whisper's 30 s."""
PAUSE_S = 0.5
"""Between the utterances of the dictation."""


class HeldOutRecordings:
    """The recordings of a dataset revision's test set, by utterance id."""

    def __init__(self, utterances: Iterable[Utterance], shards: AudioShards) -> None:
        self._by_id = {one.id: one for one in utterances if one.split == "test"}
        self._shards = shards

    def flac(self, utterance_id: str) -> bytes:
        """One recording as a FLAC file, mono, 16 kHz."""
        import soundfile

        sink = io.BytesIO()
        audio = self._audio(utterance_id)
        soundfile.write(sink, audio, SAMPLING_RATE_HZ, format="FLAC", subtype="PCM_16")
        return sink.getvalue()

    def trial(
        self,
        judged: Evaluation,
        decoding: DecodingConfig,
        folder: Path,
        dictation_margin: float | None = None,
    ) -> Trial:
        """What to try a model with: the longest utterance, some by chance, and a dictation.

        `judged` is the gate's evaluation of the model. Files are written to `folder`. Raises
        InputError for another decoding than the gate's.
        """
        if not is_decoding(judged.report.decoding_digest, decoding):
            raise InputError(
                "the gate decoded otherwise",
                where="decoding",
                expected=f"digest {judged.report.decoding_digest}",
                got=f"digest {decoding.digest}",
                remedy="pass the decoding of the retraining that decided",
            )
        rows = judged.rows
        longest = max(rows, key=lambda row: (row.duration_s, row.id))
        drawn = sorted(rows, key=lambda row: (row is not longest, digest_of(row.id)))[:TRIED]
        tried = []
        for number, row in enumerate(drawn):
            path = folder / f"{number}.flac"
            path.write_bytes(self.flac(row.id))
            tried.append(JudgedText(id=row.id, audio=str(path), text=row.hypothesis))
        path, spoken = self._dictation(rows, folder)
        return Trial(
            decoding=decoding,
            utterances=tuple(tried),
            dictation=str(path),
            dictated=" ".join(row.reference for row in spoken),
            dictated_wer=total(row.words for row in spoken).error_rate,
            dictation_margin=dictation_margin,
        )

    def _dictation(self, rows: Iterable[Row], folder: Path) -> tuple[Path, list[Row]]:
        """Test speech of 75 s or more, whole utterances; a small test set is spoken again."""
        import numpy as np
        import soundfile

        pause = np.zeros(round(PAUSE_S * SAMPLING_RATE_HZ), np.float32)
        parts: list[Any] = []
        spoken: list[Row] = []
        seconds = 0.0
        for row in cycle(sorted(rows, key=lambda row: digest_of(row.id))):
            parts += [self._audio(row.id), pause]
            spoken.append(row)
            seconds += row.duration_s + PAUSE_S
            if seconds >= DICTATION_S:
                break
        path = folder / "dictation.flac"
        speech = np.concatenate(parts)
        soundfile.write(path, speech, SAMPLING_RATE_HZ, format="FLAC", subtype="PCM_16")
        return path, spoken

    def _audio(self, utterance_id: str) -> Any:
        return self._shards.audio(self._by_id[utterance_id])

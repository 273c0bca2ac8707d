"""Transcribing a test set in shards, each stored when it is done; a rerun goes on where it was.

Knows nothing of references or scores. Utterances are sorted by length and batched before they
are cut into shards, so that no batch depends on how far an earlier run had come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from whisper_retrain.config import DecodingConfig
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.evaluation.jobs import EvaluationJob, TranscriptShardJob
from whisper_retrain.evaluation.long_form import (
    DictatedText,
    DictatedTexts,
    dictated,
    plan_passages,
    stitch,
)
from whisper_retrain.evaluation.probes import ProbeSource, make_probes, run_probes
from whisper_retrain.evaluation.transcriber import Audio, Transcriber
from whisper_retrain.evaluation.transcription import Progress, estimate_snr_db, heartbeat
from whisper_retrain.evaluation.transformers_runtime import load_transcriber
from whisper_retrain.evaluation.utterance import UtteranceT
from whisper_retrain.records import ProbeResult, Record, canonical_json

SHORT_S = 8.0
PROBE_SPEECH = 12
"""Utterances that the probes are made of: the first by id that last no longer than SHORT_S."""
TIMED = 8
"""Utterances that are transcribed one by one to tell the latency."""


class Heard(Record):
    """What the model wrote for one utterance, and how noisy the recording is."""

    id: str
    """Of the utterance."""
    text: str
    """The transcript."""
    tokens: int
    """Ids written, without the end."""
    runaway: bool
    """Whether the bound on tokens stopped the model."""
    snr_db: float | None
    """Estimated signal-to-noise ratio; None where it is not known."""


class TranscriptShard(Record):
    """The stored result of some batches."""

    items: tuple[Heard, ...]
    """An utterance each."""
    wall_s: float
    """Time it took."""
    device: str
    """Where it ran."""


class Extras(Record):
    """What is measured beside the test set's texts."""

    probes: dict[str, ProbeResult]
    """Kind of probe -> what was made up."""
    latencies_s: tuple[float, ...]
    """Of single utterances."""


@dataclass
class ShardedTranscription(Generic[UtteranceT]):
    """One model on one test set; the model is loaded when the first missing shard is met."""

    job: EvaluationJob
    model_dir: Path
    store: ObjectStore
    audio: Callable[[UtteranceT], Audio]
    device: str = "auto"
    progress: Progress = lambda done, total, note: None
    load: Callable[[Path, DecodingConfig, str], Transcriber] = load_transcriber
    _transcriber: Transcriber | None = field(default=None, init=False)
    _done: int = field(default=0, init=False)
    _total: int = field(default=0, init=False)

    def run(self, utterances: Sequence[UtteranceT]) -> list[TranscriptShard]:
        """All shards, from S3 where they are there already."""
        self._done, self._total = 0, len(utterances)
        parts = cut(utterances, self.job.shard_size)
        return [
            self.shard(one, part)
            for one, part in zip(self.job.shards(len(utterances)), parts, strict=True)
        ]

    def extras(self, utterances: Sequence[UtteranceT]) -> Extras:
        """Hallucination probes, and the seconds that single utterances take; from S3 if there."""
        key = f"{self.job.transcripts}extras-{self.job.probes_version}.json"
        if stored := self.store.read_versioned(key):
            return Extras.model_validate_json(stored[0])
        transcriber = self._load()
        with heartbeat(lambda s: self._report(0, f"probes running for {s:.0f} s")):
            short = [u for u in sorted(utterances, key=lambda u: u.id) if u.duration_s <= SHORT_S]
            speech = [ProbeSource(self.audio(u), u.reference) for u in short[:PROBE_SPEECH]]
            batch = self.job.decoding.batch_size
            probes = run_probes(make_probes(speech), transcriber.transcribe, batch)
            latencies = [self._latency(transcriber, u) for u in _spread(utterances, TIMED)]
        extras = Extras(probes=probes, latencies_s=tuple(latencies))
        self.store.write(key, canonical_json(extras.model_dump(mode="json")), "application/json")
        return extras

    def dictations(self, utterances: Sequence[UtteranceT]) -> DictatedTexts:
        """What the model writes for long audio stitched from the test set; from S3 if there."""
        key = f"{self.job.transcripts}dictations-{self.job.long_form_version}.json"
        if stored := self.store.read_versioned(key):
            return DictatedTexts.model_validate_json(stored[0])
        passages = plan_passages(utterances)
        items: list[DictatedText] = []
        size = self.job.decoding.batch_size  # a dictation's window takes an utterance's room
        for first in range(0, len(passages), size):
            part = passages[first : first + size]
            self._report(0, f"{first} of {len(passages)} dictations transcribed")
            with heartbeat(lambda s: self._report(0, f"dictations running for {s:.0f} s")):
                audios = [stitch(passage, self.audio) for passage in part]
                transcripts = self._load().transcribe_long(audios)
            items += [dictated(p, t) for p, t in zip(part, transcripts, strict=True)]
        texts = DictatedTexts(items=tuple(items))
        self.store.write(key, canonical_json(texts.model_dump(mode="json")), "application/json")
        return texts

    def _latency(self, transcriber: Transcriber, utterance: UtteranceT) -> float:
        audio, start = self.audio(utterance), time.monotonic()
        transcriber.transcribe([audio])
        return time.monotonic() - start

    def shard(self, shard: TranscriptShardJob, utterances: Sequence[UtteranceT]) -> TranscriptShard:
        """One shard of those that `cut` makes, from S3 where it is there already."""
        if stored := self.store.read_versioned(shard.key):
            self._report(len(utterances), "stored before")
            return TranscriptShard.model_validate_json(stored[0])
        made = self._transcribe(utterances)
        data = canonical_json(made.model_dump(mode="json"))
        self.store.write(shard.key, data, "application/json")
        return made

    def _transcribe(self, utterances: Sequence[UtteranceT]) -> TranscriptShard:
        transcriber = self._load()
        items: list[Heard] = []
        start, size = time.monotonic(), self.job.decoding.batch_size
        for first in range(0, len(utterances), size):
            batch = utterances[first : first + size]
            with heartbeat(lambda s: self._report(0, f"batch running for {s:.0f} s")):
                items += self._batch(transcriber, batch)
            self._report(len(batch), "transcribed")
        return TranscriptShard(
            items=tuple(items), wall_s=time.monotonic() - start, device=transcriber.device_name
        )

    def _batch(self, transcriber: Transcriber, batch: Sequence[UtteranceT]) -> list[Heard]:
        audios = [self.audio(utterance) for utterance in batch]
        transcripts = transcriber.transcribe(audios)
        return [
            Heard(
                id=utterance.id,
                text=transcript.text,
                tokens=transcript.tokens,
                runaway=transcript.runaway,
                snr_db=estimate_snr_db(audio),
            )
            for utterance, audio, transcript in zip(batch, audios, transcripts, strict=True)
        ]

    def _load(self) -> Transcriber:
        if self._transcriber is None:
            with heartbeat(lambda s: self._report(0, f"loading the model for {s:.0f} s")):
                self._transcriber = self.load(self.model_dir, self.job.decoding, self.device)
        return self._transcriber

    def _report(self, more: int, note: str) -> None:
        self._done += more
        self.progress(self._done, self._total, f"{self.job.model.name}: {note}")


def _spread(utterances: Sequence[UtteranceT], count: int) -> Sequence[UtteranceT]:
    """Some utterances, from the shortest to the longest."""
    ordered = by_length(utterances)
    return ordered[:: max(1, len(ordered) // count)][:count]


def cut(utterances: Sequence[UtteranceT], size: int) -> list[list[UtteranceT]]:
    """Shards of so many utterances, the longest first; the last one may be smaller."""
    ordered = by_length(utterances)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def by_length(utterances: Sequence[UtteranceT]) -> list[UtteranceT]:
    """Longest first, so that too little memory shows at once; ties by id."""
    return sorted(utterances, key=lambda u: (-u.duration_s, u.id))

"""What a trained model is worth, as the gate hears it: words, silence, dictations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training_corpus import Spoken
from whisper_retrain.config import DecodingConfig
from whisper_retrain.evaluation.long_form import dictated as kept
from whisper_retrain.evaluation.long_form import examine, plan_passages, stitch
from whisper_retrain.evaluation.probes import ProbeSource, babble, noise
from whisper_retrain.evaluation.scoring import count_words
from whisper_retrain.evaluation.transcriber import Audio, Transcriber
from whisper_retrain.evaluation.transformers_runtime import load_transcriber
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import total

PROBES_A_KIND = 30
PROBE_SEED = 77
"""Another than the gate's."""
LONGEST_PROBE_S = 30.0
TRAILING_S = 20.0

Reader = Callable[[Spoken], Audio]


def scored(directory: Path, test: Sequence[Spoken], read: Reader) -> dict[str, Any]:
    """Errors and words of each utterance, words made up on each probe, and the dictations."""
    transcriber = load_transcriber(directory, DecodingConfig(), "cpu")
    ordered = sorted(test, key=lambda u: -u.duration_s)
    texts = _transcribed(transcriber, [read(u) for u in ordered])
    pairs = sorted(zip(ordered, texts, strict=True), key=lambda pair: pair[0].id)
    counts = count_words(
        [normalize(u.reference) for u, _ in pairs], [normalize(text) for _, text in pairs]
    )
    return {
        "wer": total(counts).error_rate,
        "errors": [count.errors for count in counts],
        "words": [count.reference_length for count in counts],
        "speakers": [utterance.speaker for utterance, _ in pairs],
        "probes": probed(transcriber, ordered, read),
        **dictated(
            transcriber, ordered, read, {u.id: c for (u, _), c in zip(pairs, counts, strict=True)}
        ),
    }


def probed(transcriber: Transcriber, test: Sequence[Spoken], read: Reader) -> dict[str, float]:
    """Kind of probe -> words made up a probe, from other seeds than the gate's."""
    rng = np.random.default_rng(PROBE_SEED)
    sources = [ProbeSource(read(u), u.reference) for u in test[:: max(1, len(test) // 60)]]
    durations_s = np.linspace(1.0, LONGEST_PROBE_S, PROBES_A_KIND)
    kinds = {
        kind: [noise(kind, float(duration_s), rng) for duration_s in durations_s]
        for kind in ("silence", "white noise", "hum")
    }
    kinds["babble"] = [babble(sources, rng, float(duration_s)) for duration_s in durations_s]
    found = {
        kind: float(np.mean([_words(text) for text in _transcribed(transcriber, audios)]))
        for kind, audios in kinds.items()
    }
    silence = np.zeros(round(TRAILING_S * 16_000), np.float32)
    chosen = sources[:PROBES_A_KIND]
    texts = _transcribed(transcriber, [np.concatenate([s.audio, silence]) for s in chosen])
    more = [max(0, _words(t) - _words(s.reference)) for s, t in zip(chosen, texts, strict=True)]
    return {**found, "trailing silence": float(np.mean(more))}


def dictated(
    transcriber: Transcriber, test: Sequence[Spoken], read: Reader, alone: dict[str, Any]
) -> dict[str, Any]:
    """WER of stitched dictations, and of the same utterances one by one."""
    passages = plan_passages(test)
    transcripts = transcriber.transcribe_long([stitch(one, read) for one in passages])
    heard = [examine(one, kept(one, text)) for one, text in zip(passages, transcripts, strict=True)]
    words = total(one.words for one in heard)
    short = total(alone[u.id] for one in passages for u in one.utterances)
    return {
        "longform_wer": words.error_rate,
        "longform_short_wer": short.error_rate,
        "dictations": [one.model_dump(mode="json") for one in heard],
    }


def _transcribed(transcriber: Transcriber, audios: Sequence[Audio], size: int = 16) -> list[str]:
    return [
        transcript.text
        for first in range(0, len(audios), size)
        for transcript in transcriber.transcribe(audios[first : first + size])
    ]


def _words(text: str) -> int:
    return len(normalize(text).split())

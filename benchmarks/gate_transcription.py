"""Transcription of the gate against transformers' pipeline, and against the machine's floor.

Real weights (Whisper tiny.en) on synthetic speech (eSpeak NG), the same audio for both, in one
process, on the same number of threads, in rounds that begin with each in turn: the median of the
rounds' ratios stands, since a ratio of two single runs tells more of the machine. The pipeline is
asked for greedy decoding and for the precision that the gate takes on this machine. An utterance on
which the model never ends holds up its whole batch to the last of 448 tokens; so the pipeline is
timed with the longest of the gate's bounds, too. Its own defaults, 5 beams where a model's files
name none and the precision of the file, give other texts and are timed on every third utterance.
"""

from __future__ import annotations

import os
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import soxr

from whisper_retrain.config import DecodingConfig
from whisper_retrain.evaluation.precision import with_precision
from whisper_retrain.evaluation.transcriber import Audio
from whisper_retrain.evaluation.transformers_runtime import TransformersTranscriber
from whisper_retrain.local.demo import base_model
from whisper_retrain.local.demo.engines import Espeak
from whisper_retrain.whisper_constants import SAMPLING_RATE_HZ

BATCH = 16
ROUNDS = 3
Transcribe = Callable[[], list[str]]
SENTENCES = Path(base_model.__file__).with_name("sentences.toml")


def speech(count: int) -> list[Audio]:
    """Sentences of the demo corpus as eSpeak NG reads them, at 16 kHz."""
    groups = tomllib.loads(SENTENCES.read_text())
    texts = [text for prompts in groups.values() for lines in prompts.values() for text in lines]
    voice = Espeak("en-us", words_per_minute=150, pitch=45)
    step = max(1, len(texts) // count)
    read = [voice.read(text) for text in texts[::step][:count]]
    return [soxr.resample(a, voice.rate_hz, SAMPLING_RATE_HZ).astype(np.float32) for a in read]


def transcription(count: int, threads: int = 0) -> dict[str, Any]:
    """Speed-up over the pipeline's utterances per second, and how far both are from the floor."""
    import torch

    torch.set_num_threads(threads or os.cpu_count() or 1)
    audios = speech(count)
    precision = with_precision(DecodingConfig()).precision
    dtype = getattr(torch, precision)
    with tempfile.TemporaryDirectory() as folder:
        model_dir = base_model.convert_base_model(Path(folder) / "tiny.en")
        transcriber = TransformersTranscriber(model_dir, DecodingConfig(batch_size=BATCH))
        ours = _ours(transcriber, audios)
        theirs = _pipeline(model_dir, audios, dtype, num_beams=1)
        rounds = [_round(ours, theirs, number) for number in range(ROUNDS)]
        most = max(transcriber.bound(len(audio) / SAMPLING_RATE_HZ) for audio in audios)
        bounded = _pipeline(model_dir, audios, dtype, num_beams=1, max_new_tokens=most)
        bounded_rounds = [_round(ours, bounded, number) for number in range(ROUNDS)]
        few = audios[::3]
        few_s, _ = _timed(_ours(transcriber, few))
        defaults_s, _ = _timed(_pipeline(model_dir, few, torch.float32, num_beams=5))
    ours_s, theirs_s = (min(one[side].seconds for one in rounds) for side in (0, 1))
    same = sum(a == b for a, b in zip(rounds[0][0].texts, rounds[0][1].texts, strict=True))
    floor_s = (
        len(audios) * encoder_flop(base_model.SIZES) / matmul_flop_per_s(base_model.SIZES, dtype)
    )
    return {
        "transcription_precision": precision,
        "transcription_speedup": median(_ratios(rounds)),
        "transcription_speedup_rounds": _ratios(rounds),
        "transcription_speedup_over_bounded": median(_ratios(bounded_rounds)),
        "transcription_speedup_over_defaults": defaults_s / few_s,
        "transcription_utterances_per_s": len(audios) / ours_s,
        "pipeline_utterances_per_s": len(audios) / theirs_s,
        "transcription_same_texts": same / len(audios),
        "transcription_times_floor": ours_s / floor_s,
        "encoder_floor_utterances_per_s": len(audios) / floor_s,
    }


class Timed(NamedTuple):
    """All utterances transcribed once."""

    seconds: float
    texts: list[str]


def _round(ours: Transcribe, theirs: Transcribe, number: int) -> tuple[Timed, Timed]:
    """Both, one after the other, and in every second round the other way round."""
    if number % 2:
        second, first = _timed(theirs), _timed(ours)
        return first, second
    return _timed(ours), _timed(theirs)


def _ratios(rounds: Sequence[tuple[Timed, Timed]]) -> list[float]:
    return [theirs.seconds / ours.seconds for ours, theirs in rounds]


def _timed(run: Transcribe) -> Timed:
    start = time.perf_counter()
    texts = run()
    return Timed(time.perf_counter() - start, texts)


def _ours(transcriber: TransformersTranscriber, audios: list[Audio]) -> Transcribe:
    """As the gate does it: longest first, in batches; warmed up."""
    order = sorted(range(len(audios)), key=lambda place: -len(audios[place]))

    def run() -> list[str]:
        texts = [""] * len(audios)
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            found = transcriber.transcribe([audios[place] for place in batch])
            for place, transcript in zip(batch, found, strict=True):
                texts[place] = transcript.text
        return texts

    transcriber.transcribe(audios[:1])
    return run


def _pipeline(model_dir: Path, audios: list[Audio], dtype: Any, **options: int) -> Transcribe:
    """As its users call it for many files; warmed up."""
    from transformers import pipeline

    asr = pipeline(
        "automatic-speech-recognition", model=str(model_dir), batch_size=BATCH, dtype=dtype
    )

    def run() -> list[str]:
        found = asr([audio.copy() for audio in audios], generate_kwargs=options)
        return [one["text"].strip() for one in found]

    asr(audios[0].copy(), generate_kwargs=options)
    return run


def encoder_flop(sizes: dict[str, Any]) -> float:
    """Multiply-adds, times two, of Whisper's encoder over 30 s."""
    width, positions = sizes["d_model"], sizes["max_source_positions"]
    layer = 4 * width**2 * positions + 2 * positions**2 * width
    layer += 2 * width * sizes["encoder_ffn_dim"] * positions
    convolutions = 3 * sizes["num_mel_bins"] * width * 2 * positions + 3 * width**2 * positions
    return 2.0 * (sizes["encoder_layers"] * layer + convolutions)


def matmul_flop_per_s(sizes: dict[str, Any], dtype: Any, seconds: float = 2.0) -> float:
    """What matmuls of the feed-forward layers' shape reach on this machine, now, at a precision."""
    import torch

    rows, width, wide = BATCH * 1500, sizes["d_model"], sizes["encoder_ffn_dim"]
    left, right = torch.randn(rows, width, dtype=dtype), torch.randn(width, wide, dtype=dtype)
    best, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < seconds:
        once = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - once)
    return 2.0 * rows * width * wide / best

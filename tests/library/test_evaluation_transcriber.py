"""The Transcriber on real weights and real speech: words with times, and audio of any length."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soxr

from whisper_retrain.config import DecodingConfig
from whisper_retrain.evaluation.transcriber import Audio, Transcriber
from whisper_retrain.evaluation.transformers_runtime import (
    TransformersTranscriber,
    load_transcriber,
)
from whisper_retrain.local.demo.base_model import convert_base_model
from whisper_retrain.local.demo.engines import Piper
from whisper_retrain.whisper_constants import SAMPLING_RATE_HZ

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DICTATION_S = 40
"""More than one window of Whisper's."""
SENTENCES = (
    "I need three pillows to breathe at night.",
    "My left knee is swollen and stiff in the morning.",
    "The patient denies chest pain and shortness of breath.",
    "There is no sign of infection around the wound.",
)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_base_model(tmp_path_factory.mktemp("base") / "whisper-tiny.en")


@pytest.fixture(scope="module")
def transcriber(model_dir: Path) -> Transcriber:
    return load_transcriber(model_dir, DecodingConfig(), "cpu")


@pytest.fixture(scope="module")
def speech() -> list[Audio]:
    voice = Piper(length_scale=1.0, noise_scale=0.667, seed=1)
    return [soxr.resample(voice.read(text), voice.rate_hz, SAMPLING_RATE_HZ) for text in SENTENCES]


@pytest.fixture(scope="module")
def dictation(speech: list[Audio]) -> Audio:
    """The sentences over and over, with pauses."""
    pause = np.zeros(SAMPLING_RATE_HZ // 2, np.float32)
    once = np.concatenate([part for one in speech for part in (one, pause)])
    return np.resize(once, DICTATION_S * SAMPLING_RATE_HZ)


def test_words_are_those_of_the_text_and_lie_in_the_audio(
    transcriber: Transcriber, speech: list[Audio]
) -> None:
    plain = transcriber.transcribe(speech)
    asked = transcriber.transcribe(speech, words=True)
    assert [one.text for one in asked] == [one.text for one in plain]
    for one, audio in zip(asked, speech, strict=True):
        assert " ".join(word.text for word in one.words) == one.text
        times = [time for word in one.words for time in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert times[-1] <= len(audio) / SAMPLING_RATE_HZ
        assert all(0.0 <= word.probability <= 1.0 for word in one.words)


def test_a_batch_reads_the_same_before_and_after_words_were_asked_for(
    model_dir: Path, speech: list[Audio]
) -> None:
    asked = load_transcriber(model_dir, DecodingConfig(), "cpu")
    asked.transcribe(speech[:1], words=True)
    assert attention_of(asked) == attention_of(load_transcriber(model_dir, DecodingConfig(), "cpu"))
    assert attention_of(asked) != "eager"


def attention_of(transcriber: Transcriber) -> str:
    assert isinstance(transcriber, TransformersTranscriber)
    return str(transcriber._model.config._attn_implementation)


def test_a_word_is_heard_where_it_was_said(transcriber: Transcriber, speech: list[Audio]) -> None:
    late = np.concatenate([np.zeros(3 * SAMPLING_RATE_HZ, np.float32), speech[0]])
    (early,), (shifted,) = (
        transcriber.transcribe([audio], words=True) for audio in (speech[0], late)
    )
    ends = [next(w.end_s for w in one.words if "night" in w.text) for one in (early, shifted)]
    assert ends[1] - ends[0] == pytest.approx(3.0, abs=0.4)


def test_long_audio_reads_as_with_the_pipeline_of_transformers(
    transcriber: Transcriber, model_dir: Path, dictation: Audio
) -> None:
    from transformers import pipeline

    (long,) = transcriber.transcribe_long([dictation])
    asr = pipeline("automatic-speech-recognition", model=str(model_dir), device="cpu")
    theirs = asr(
        {"raw": dictation.copy(), "sampling_rate": SAMPLING_RATE_HZ},
        return_timestamps=True,
        generate_kwargs={"num_beams": 1},
    )
    assert long.text == theirs["text"].strip()
    assert not long.runaway
    assert long.text.count("pillows") == 4


def test_segments_and_words_of_long_audio_follow_one_another(
    transcriber: Transcriber, dictation: Audio
) -> None:
    (long,) = transcriber.transcribe_long([dictation], words=True)
    assert " ".join(segment.text for segment in long.segments) == long.text
    assert " ".join(word.text for word in long.words) == long.text
    for before, after in pairwise(long.segments):
        assert before.start_s < before.end_s <= after.start_s
    assert long.segments[-1].end_s <= DICTATION_S + 0.5
    starts = [word.start_s for word in long.words]
    assert all(after >= before - 0.5 for before, after in pairwise(starts))


def test_what_fits_one_window_is_heard_like_any_utterance(
    transcriber: Transcriber, speech: list[Audio]
) -> None:
    (short,) = transcriber.transcribe(speech[:1])
    (long,) = transcriber.transcribe_long([speech[0]])
    assert (long.text, long.tokens) == (short.text, short.tokens)
    (segment,) = long.segments
    assert (segment.start_s, segment.end_s) == (0.0, len(speech[0]) / SAMPLING_RATE_HZ)


def test_half_precision_is_another_decoding(model_dir: Path, speech: list[Audio]) -> None:
    half = DecodingConfig(precision="bfloat16")
    assert half.digest != DecodingConfig().digest
    (transcript,) = load_transcriber(model_dir, half, "cpu").transcribe(speech[:1])
    assert "breathe at night" in transcript.text

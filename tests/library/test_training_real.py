"""The engine on real weights and real speech: Whisper tiny.en and the demo's recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import training_recipes as recipes
from whisper_retrain.config import DecodingConfig
from whisper_retrain.evaluation.transcriber import Audio
from whisper_retrain.evaluation.transformers_runtime import load_transcriber
from whisper_retrain.local.demo.base_model import convert_base_model
from whisper_retrain.training.checkpoint import write_checkpoint
from whisper_retrain.training.validation import word_error_rate


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_tiny_en_learns_medical_speech_of_unheard_voices(first_drop: Path, tmp_path: Path) -> None:
    order = recipes.Order(
        corpus=str(first_drop),
        base=str(convert_base_model(tmp_path / "base")),
        steps=16,
        batch_size=8,
        settings=(("learning_rate", 1.5e-4),),
    )
    model, labels, speech = recipes.prepared(order, tmp_path)
    recipes.train_ours(order, model.train(), labels, speech)
    trained = write_checkpoint(model, Path(order.base), tmp_path / "trained")
    heard = [(one.reference, speech.audio(one)) for one in speech.validation[::3]]
    wer = {folder: wer_of(folder, heard) for folder in (Path(order.base), trained)}
    assert wer[trained] < 0.6 * wer[Path(order.base)]
    # Base models must write a word where nobody speaks, and cannot help it.
    silence = [np.zeros(seconds * 16_000, np.float32) for seconds in (1, 5, 20)]
    texts = [one.text for one in load_transcriber(trained, DecodingConfig()).transcribe(silence)]
    assert texts == ["", "", ""]


def wer_of(model: Path, heard: list[tuple[str, Audio]]) -> float:
    """As the gate hears it."""
    transcriber = load_transcriber(model, DecodingConfig())
    texts = [one.text for one in transcriber.transcribe([audio for _, audio in heard])]
    return word_error_rate([reference for reference, _ in heard], texts)

"""The engine on real weights and real speech: Whisper tiny.en and the demo's recordings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipes() -> Iterator[object]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import training_recipes

        yield training_recipes
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_tiny_en_learns_medical_speech_of_unheard_voices(
    recipes: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from whisper_retrain.local.demo.base_model import convert_base_model
    from whisper_retrain.local.demo.corpus import make_corpus

    folder = tmp_path_factory.mktemp("real")
    order = recipes.Order(  # type: ignore[attr-defined]
        corpus=str(make_corpus(folder, 1, lambda *_: None)),
        base=str(convert_base_model(folder / "base")),
        steps=24,
        settings=(("learning_rate", 1e-4),),
    )
    model, labels, speech = recipes.prepared(order, folder)  # type: ignore[attr-defined]
    heard = type(speech)(speech.train, speech.validation[::5], speech.audio)
    before = recipes.scored(model, labels, heard)  # type: ignore[attr-defined]
    recipes.train_ours(order, model.train(), labels, speech)  # type: ignore[attr-defined]
    after = recipes.scored(model, labels, heard)  # type: ignore[attr-defined]
    assert after["wer"] < 0.5 * before["wer"]
    assert max(len(text.split()) for text in after["probes"]["silence"]) <= 3

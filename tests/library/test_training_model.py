"""Loading and mending the model, label ids, and the loss with a short audio context."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fixtures.training import say, spoken, write_tiny_model
from whisper_retrain.config import DecodingConfig
from whisper_retrain.errors import InputError
from whisper_retrain.training.model import (
    WhisperLoss,
    audio_context,
    default_learning_rate,
    labels_for,
    load_model,
    mend_generation_config,
)
from whisper_retrain.training.speech import Example, Piece, collate, usable
from whisper_retrain.whisper_constants import CONTEXT_S


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base"))


def a_piece(model: Any, base: Path, full_context: bool) -> Piece:
    labels = labels_for(model, base, DecodingConfig())
    texts = ["pain", "cough fever rash"]
    examples = [Example(text, say(text), labels.ids(text)) for text in texts]
    return collate(examples, labels, CONTEXT_S if full_context else 1.0)


def test_with_the_full_context_the_loss_is_that_of_transformers(base: Path) -> None:
    model = load_model(base).eval()
    piece = a_piece(model, base, full_context=True)
    features = WhisperLoss(model).log_mel(piece.waves)
    theirs = model(input_features=features, labels=piece.labels).loss
    count = int((piece.labels != -100).sum())
    torch.testing.assert_close(WhisperLoss(model)(piece) / count, theirs, rtol=1e-5, atol=1e-5)


def test_a_short_context_is_the_encoder_run_on_the_first_positions(base: Path) -> None:
    model = load_model(base).eval()
    features = torch.randn(1, 80, 320)
    with audio_context(model, 160):
        short = model.model.encoder(features).last_hidden_state
    assert short.shape == (1, 160, 32)
    # The first positions of a longer input differ, since attention sees more: it is no slice.
    full = model.model.encoder(torch.nn.functional.pad(features, (0, 2680))).last_hidden_state
    assert not torch.allclose(short, full[:, :160], atol=1e-3)


def test_a_short_context_leaves_no_trace_even_after_an_error(base: Path) -> None:
    model = load_model(base)
    with pytest.raises(ZeroDivisionError), audio_context(model, 160):
        raise ZeroDivisionError
    assert model.config.max_source_positions == 1500
    assert model.model.encoder.embed_positions.num_embeddings == 1500
    assert model.model.encoder(torch.randn(1, 80, 3000)).last_hidden_state.shape[1] == 1500


def test_audio_of_another_length_than_its_context_is_refused(base: Path) -> None:
    model = load_model(base)
    with audio_context(model, 160), pytest.raises(ValueError, match="mel input features"):
        model.model.encoder(torch.randn(1, 80, 3000))


def test_label_ids_are_prefix_text_after_a_blank_and_end(base: Path) -> None:
    labels = labels_for(load_model(base), base, DecodingConfig())
    tokenizer = labels.tokenizer
    ids = labels.ids("  My  cough\n is heavy. ")
    assert tokenizer.decode(ids) == "<|notimestamps|> My cough is heavy.<|endoftext|>"


def test_decoder_input_is_the_labels_one_later_and_padding_does_not_count(base: Path) -> None:
    model = load_model(base)
    piece = a_piece(model, base, full_context=False)
    short, long = piece.labels
    assert piece.decoder_ids[0, 0] == model.config.decoder_start_token_id
    assert piece.decoder_ids[1, 1:].tolist() == long[:-1].tolist()
    assert (short == -100).sum() == len(long) - len(" pain") - 2


def test_utterances_that_cannot_be_trained_on_are_left_out_and_counted(base: Path) -> None:
    labels = labels_for(load_model(base), base, DecodingConfig())
    good, empty, long, endless = spoken(4)
    faulty = [
        good,
        type(good)(empty.id, " \n ", 1.0),
        type(good)(long.id, "pain " * 40, 12.0),  # the tiny model takes 64 ids, real ones 448
        type(good)(endless.id, "pain", 31.0),
    ]
    taken, dropped = usable(faulty, labels, "train")
    assert taken == [good]
    assert dropped == {"no label ids": 1, "more than 64 label ids": 1, "longer than 30 s": 1}


def test_a_split_without_a_usable_utterance_is_an_input_error(base: Path) -> None:
    labels = labels_for(load_model(base), base, DecodingConfig())
    with pytest.raises(InputError, match=r"validation split.*an empty split"):
        usable([], labels, "validation")


def test_a_base_model_that_is_no_whisper_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match=r"no Whisper.*bert"):
        load_model(tmp_path)


def test_a_directory_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json"):
        load_model(tmp_path)


def test_weights_of_another_architecture_are_refused(base: Path, tmp_path: Path) -> None:
    wide = write_tiny_model(tmp_path / "wide", width=48)
    (wide / "config.json").write_text((base / "config.json").read_text())
    with pytest.raises(InputError, match="don't fit"):
        load_model(wide)


def test_forced_decoder_ids_are_mended(base: Path) -> None:
    model = load_model(base)
    model.generation_config.forced_decoder_ids = [[1, 5]]
    mend_generation_config(model, DecodingConfig())
    assert model.generation_config.forced_decoder_ids is None


def test_a_multilingual_model_needs_a_language_and_keeps_it(base: Path) -> None:
    model = load_model(base)
    model.generation_config.is_multilingual = True
    with pytest.raises(InputError, match="no language is set"):
        mend_generation_config(model, DecodingConfig())
    mend_generation_config(model, DecodingConfig(language="en"))
    assert (model.generation_config.language, model.generation_config.task) == ("en", "transcribe")


@pytest.mark.parametrize(
    ("width", "rate"),  # a fortieth of Radford et al. 2022, table 17
    [(384, 3.75e-5), (512, 2.5e-5), (768, 1.25e-5), (1024, 6.25e-6), (1280, 4.4e-6)],
)
def test_the_default_learning_rate_goes_by_size(base: Path, width: int, rate: float) -> None:
    model = load_model(base)
    model.config.d_model = width
    assert default_learning_rate(model) == rate


def test_a_model_with_128_mel_bins_trains_too(tmp_path: Path) -> None:
    base = write_tiny_model(tmp_path, mel_bins=128)
    assert json.loads((base / "config.json").read_text())["num_mel_bins"] == 128
    model = load_model(base)
    loss = WhisperLoss(model)(a_piece(model, base, full_context=False))
    loss.backward()
    assert torch.isfinite(loss)


def test_an_empty_transcript_may_be_written_where_nobody_speaks(base: Path) -> None:
    model = load_model(base)
    end = model.generation_config.eos_token_id
    model.generation_config.begin_suppress_tokens = [7, end]
    mend_generation_config(model, DecodingConfig())
    assert model.generation_config.begin_suppress_tokens == [7]
    model.generation_config.begin_suppress_tokens = [end]
    mend_generation_config(model, DecodingConfig())
    assert model.generation_config.begin_suppress_tokens is None

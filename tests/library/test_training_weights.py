"""Kept weights and their mixtures; adapters that come and go without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.fixtures.training import write_tiny_model
from whisper_retrain.training.lora import add_adapters, merged
from whisper_retrain.training.model import load_model
from whisper_retrain.training.weights import (
    KeptWeights,
    average,
    interpolate,
    set_weights,
    weights_of,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base"))


def test_the_average_is_the_mean_of_each_weight() -> None:
    parts = [{"a": torch.tensor([float(n), 2.0 * n])} for n in (1, 2, 6)]
    torch.testing.assert_close(average(parts)["a"], torch.tensor([3.0, 6.0]))


def test_the_average_of_one_is_itself_and_leaves_it_alone() -> None:
    one = {"a": torch.tensor([1.0])}
    average([one])["a"] += 1
    assert one["a"] == 1.0


@pytest.mark.parametrize(("share", "value"), [(0.0, 4.0), (0.25, 3.0), (1.0, 0.0)])
def test_a_share_of_the_base_model_is_mixed_in(share: float, value: float) -> None:
    mixed = interpolate({"a": torch.tensor([4.0])}, {"a": torch.tensor([0.0])}, share)
    assert mixed["a"] == value


def test_kept_weights_come_back_bit_by_bit(base: Path, tmp_path: Path) -> None:
    model, kept = load_model(base), KeptWeights(tmp_path)
    kept.keep(7, weights_of(model))
    other = load_model(write_tiny_model(tmp_path / "other", seed=1))
    set_weights(other, kept.read(7))
    for name, value in weights_of(model).items():
        assert torch.equal(weights_of(other)[name], value)
    assert torch.equal(other.proj_out.weight, model.proj_out.weight)  # tied


def test_pruning_leaves_what_is_wanted(tmp_path: Path) -> None:
    kept = KeptWeights(tmp_path)
    for step in (1, 2, 3):
        kept.keep(step, {"a": torch.zeros(1)})
    kept.prune([2])
    assert kept.files() == [kept.path(2)]


def test_merged_adapters_make_a_plain_whisper_and_leave_no_rounding(base: Path) -> None:
    model, plain = load_model(base).eval(), load_model(base).eval()
    add_adapters(model, rank=4)
    names = set(weights_of(plain))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.02)
        features, ids = torch.randn(1, 80, 3000), torch.tensor([[258, 5, 6]])
        adapted = model(input_features=features, decoder_input_ids=ids).logits
        before = weights_of(model)["model.encoder.layers.0.fc1.weight"].clone()
        with merged(model):
            assert set(weights_of(model)) == names
            set_weights(plain, weights_of(model))
        after = weights_of(model)["model.encoder.layers.0.fc1.weight"]
        found = plain(input_features=features, decoder_input_ids=ids).logits
    assert torch.equal(before, after)
    torch.testing.assert_close(found, adapted, rtol=1e-3, atol=1e-4)

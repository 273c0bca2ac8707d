"""One optimizer step: the same whatever it is cut into, and honest when it fails."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fixtures.training import QUICK, hear, spoken, write_tiny_model
from whisper_retrain.config import DecodingConfig, TrainingConfig
from whisper_retrain.errors import DivergedError, OutOfMemoryError
from whisper_retrain.training.batches import StepPlan
from whisper_retrain.training.devices import Device
from whisper_retrain.training.fine_tuning import optimization_for
from whisper_retrain.training.model import labels_for, load_model
from whisper_retrain.training.optimization import Optimization
from whisper_retrain.training.schedule import schedule_of
from whisper_retrain.training.speech import Example

UTTERANCES = spoken(8)
PLAN = StepPlan(0, tuple(range(8)))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base"), layers=1)


def optimization(base: Path, **changes: Any) -> Optimization:
    config = TrainingConfig(**{**QUICK.model_dump(), "precision": "float32", **changes})
    model = load_model(base)
    labels = labels_for(model, base, DecodingConfig())
    schedule = schedule_of(config, steps_per_epoch=1)
    return optimization_for(
        model, labels, config, schedule, Device(config.precision, force_cpu=True)
    )


def examples(one: Optimization) -> list[Example]:
    return [Example(u.id, hear(u), one.labels.ids(u.reference)) for u in UTTERANCES]


def weights_after_a_step(one: Optimization) -> dict[str, torch.Tensor]:
    one.step(one.prepare(PLAN, examples(one)))
    return {name: value.detach() for name, value in one.loss.named_parameters()}


def gradients(one: Optimization) -> tuple[float, list[torch.Tensor]]:
    result = one.step(one.prepare(PLAN, examples(one)))
    return result.loss, [p.grad for p in one.parameters if p.grad is not None]


@pytest.mark.parametrize("budget_s", [1.0, 5.0, 12.0])
def test_micro_batches_change_rounding_and_nothing_else(base: Path, budget_s: float) -> None:
    # A margin of 30 s gives every piece the same context, as a short one would not.
    whole = gradients(optimization(base, micro_batch_audio_s=1000.0, context_margin_s=30.0))
    cut = gradients(optimization(base, micro_batch_audio_s=budget_s, context_margin_s=30.0))
    assert cut[0] == pytest.approx(whole[0], rel=1e-5)
    for one, other in zip(cut[1], whole[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_gradient_checkpointing_changes_nothing(base: Path) -> None:
    plain = gradients(optimization(base))
    checkpointed = gradients(optimization(base, gradient_checkpointing=True))
    for one, other in zip(plain[1], checkpointed[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_ids_that_are_looked_up_share_the_gradient_of_the_tied_projection(base: Path) -> None:
    """As autograd sums it by itself, also when memory ran out amid the pieces of a first try."""
    one, other = optimization(base, micro_batch_audio_s=5.0), optimization(base)
    piece = one.prepare(PLAN, examples(one)).pieces[0]
    other.loss._lookup = None  # the embedding's own
    other.loss(piece).backward()
    fails_above(one, 0, MemoryError())
    with pytest.raises(OutOfMemoryError):
        one.step(one.prepare(PLAN, examples(one)))
    one.loss.forward = type(one.loss).forward.__get__(one.loss)
    one.optimizer.zero_grad()
    one.loss(piece).backward()
    one.loss.join_lookup()
    mine, theirs = (o.loss.whisper.proj_out.weight.grad for o in (one, other))
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_for_products_only_and_learns_alike(base: Path, precision: str) -> None:
    plain, half = optimization(base), optimization(base, precision=precision)
    assert half.scaler.is_enabled() == (precision == "float16")
    losses = [
        [one.step(one.prepare(PLAN, examples(one))).loss for _ in range(3)] for one in (plain, half)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1][-1] < losses[1][0]
    assert {p.dtype for p in half.parameters} == {torch.float32}


def test_float16_leaves_out_a_step_that_overflows(base: Path) -> None:
    one = optimization(base, precision="float16")
    one.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, enabled=True)
    before = {name: value.detach().clone() for name, value in one.loss.named_parameters()}
    after = weights_after_a_step(one)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert one.scaler.get_scale() < 2.0**120


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")
@pytest.mark.skipif(" " in torch.__file__, reason="torch.compile fails in a path with a blank")
def test_a_compiled_model_gives_the_same_gradients(base: Path) -> None:
    plain, compiled = gradients(optimization(base)), gradients(optimization(base, compile=True))
    assert compiled[0] == pytest.approx(plain[0], rel=1e-4)
    for one, other in zip(plain[1], compiled[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_the_same_step_twice_gives_the_same_bits(base: Path) -> None:
    first, second = (weights_after_a_step(optimization(base)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def fails_above(one: Optimization, rows: int, error: Exception) -> list[int]:
    """Let the forward pass run out of memory for pieces of more than `rows` utterances."""
    seen: list[int] = []
    forward = one.loss.forward

    def limited(piece: Any) -> torch.Tensor:
        seen.append(len(piece.waves))
        if len(piece.waves) > rows:
            raise error
        return forward(piece)

    one.loss.forward = limited
    return seen


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_micro_batch_and_keeps_the_effective_batch(
    base: Path, error: Exception
) -> None:
    wanted = weights_after_a_step(optimization(base, context_margin_s=30.0))
    one = optimization(base, micro_batch_audio_s=240.0, context_margin_s=30.0)
    seen = fails_above(one, 2, error)
    found = weights_after_a_step(one)
    assert seen[:3] == [8, 4, 2]
    assert sum(rows for rows in seen[2:]) == 8
    assert one.budget_s == 60.0
    for name, value in wanted.items():
        # One step of AdamW moves a weight by the learning rate, whatever the gradient's size.
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-3)


def test_out_of_memory_with_one_utterance_at_a_time_is_said(base: Path) -> None:
    one = optimization(base)
    fails_above(one, 0, MemoryError())
    with pytest.raises(OutOfMemoryError, match=r"one utterance at a time.*step 1"):
        one.step(one.prepare(PLAN, examples(one)))


def test_another_runtime_error_is_not_taken_for_a_lack_of_memory(base: Path) -> None:
    one = optimization(base)
    fails_above(one, 0, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        one.step(one.prepare(PLAN, examples(one)))


def test_a_loss_that_is_no_number_stops_before_it_spoils_the_weights(base: Path) -> None:
    one = optimization(base)
    with torch.no_grad():
        one.loss.whisper.model.encoder.conv1.bias[0] = float("nan")
    before = one.loss.whisper.model.decoder.layers[0].fc1.weight.clone()
    with pytest.raises(DivergedError, match="step 1; expected finite"):
        one.step(one.prepare(PLAN, examples(one)))
    assert torch.equal(before, one.loss.whisper.model.decoder.layers[0].fc1.weight)


def test_adapters_are_all_that_lora_trains(base: Path) -> None:
    one = optimization(base, lora_rank=4)
    before = one.loss.whisper.model.encoder.layers[0].fc1.get_base_layer().weight.clone()
    one.step(one.prepare(PLAN, examples(one)))
    layer = one.loss.whisper.model.encoder.layers[0].fc1
    assert torch.equal(before, layer.get_base_layer().weight)
    assert layer.lora_B["default"].weight.abs().max() > 0

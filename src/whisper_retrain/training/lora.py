"""Low-rank adapters (Hu et al. 2021) by peft, in place inside the model's own linear layers.

Outside `merged` the model computes with adapters; inside, and in every saved file, it is a plain
Whisper again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# All linear layers of a block: at equal rank better than queries and values alone.
TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def add_adapters(model: Any, rank: int) -> None:
    """Freeze the model and put trainable adapters of this rank into it; the scale is 2."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=TARGETS)
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "lora_" in name


def _layers(model: Any) -> list[Any]:
    return [module for module in model.modules() if hasattr(module, "lora_A")]


@contextmanager
def merged(model: Any) -> Iterator[None]:
    """Add the adapters to the weights, and take them out again without a trace of rounding."""
    layers = _layers(model)
    before = [layer.get_base_layer().weight.detach().clone() for layer in layers]
    for layer in layers:
        layer.merge()
    try:
        yield
    finally:
        for layer, weight in zip(layers, before, strict=True):
            layer.unmerge()
            with torch.no_grad():
                layer.get_base_layer().weight.copy_(weight)


def plain_name(name: str) -> str | None:
    """A weight's name in a plain Whisper; None for an adapter's own."""
    return None if "lora_" in name else name.replace(".base_layer.", ".")

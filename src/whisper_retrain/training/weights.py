"""Weights kept during a training: the best always, others for averaging; and their mixtures.

Knows nothing of WER but that lower is better. Files are float32 safetensors in the work directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whisper_retrain.training.lora import plain_name
from whisper_retrain.whole import whole_file

Weights = dict[str, Tensor]
TIED = "proj_out.weight"  # shares its storage with the decoder's embeddings


def weights_of(model: Any) -> Weights:
    """The weights of a plain Whisper, adapters and the tied output projection left out."""
    named = ((plain_name(name), value) for name, value in model.state_dict().items())
    return {name: value for name, value in named if name not in (None, TIED)}


def set_weights(model: Any, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a model of the same architecture."""
    with torch.no_grad():
        own = weights_of(model)
        for name, value in weights.items():
            own[name].copy_(value)


def average(all_weights: Iterable[Mapping[str, Tensor]]) -> Weights:
    """The mean of each weight (Izmailov et al. 2018), one file in memory at a time."""
    mean: Weights = {}
    for count, weights in enumerate(all_weights, start=1):
        if not mean:
            mean = {name: value.clone() for name, value in weights.items()}
            continue
        for name, value in weights.items():
            mean[name] += (value - mean[name]) / count
    return mean


def weighted(all_weights: Iterable[tuple[Mapping[str, Tensor], float]]) -> Weights:
    """The sum of weights by their shares, one file in memory at a time."""
    found: Weights = {}
    for weights, share in all_weights:
        for name, value in weights.items():
            found[name] = found[name].add_(value, alpha=share) if name in found else value * share
    return found


def interpolate(tuned: Mapping[str, Tensor], base: Mapping[str, Tensor], share: float) -> Weights:
    """`share` of the base model, the rest of the tuned one (Wortsman et al. 2022, WiSE-FT)."""
    return {name: torch.lerp(value, base[name], share) for name, value in tuned.items()}


class KeptWeights:
    """Weight files by the step that they were kept at."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, step: int) -> Path:
        """Where the weights of a step lie."""
        return self.directory / f"{step:08d}.safetensors"

    def keep(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Write a step's weights; the file appears whole or not at all."""
        from safetensors.torch import save_file

        with whole_file(self.path(step)) as draft:
            save_file({name: value.contiguous() for name, value in weights.items()}, draft)

    def read(self, step: int) -> Weights:
        """The weights of a step."""
        from safetensors.torch import load_file

        return load_file(self.path(step))

    def files(self) -> list[Path]:
        """All kept files."""
        return sorted(self.directory.glob("*.safetensors"))

    def prune(self, wanted: Iterable[int]) -> None:
        """Forget all but the wanted steps."""
        names = {self.path(step).name for step in wanted}
        for path in self.files():
            if path.name not in names:
                path.unlink()

"""The checkpoint that a training hands on: plain transformers files, proved to load.

Knows nothing of steps or S3. Tokenizer and processor files are the base model's own, byte for
byte; weights have the dtype that the base model's had.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whisper_retrain.errors import IntegrityError
from whisper_retrain.model_files import model_files
from whisper_retrain.training.weights import weights_of

WRITTEN_ANEW = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
)


def base_dtype(base_dir: Path) -> torch.dtype:
    """The dtype of the base model's weights, by its config.json; float32 if it doesn't say."""
    config = json.loads((base_dir / "config.json").read_text())
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype: torch.dtype = getattr(torch, str(name), torch.float32)
    return dtype


def write_checkpoint(model: Any, base_dir: Path, directory: Path) -> Path:
    """Save a model beside its base model's tokenizer and processor, and load it again.

    Raises IntegrityError when plain transformers reads other weights than were to be saved.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for path in model_files(base_dir):
        if not any(fnmatch(path.name, pattern) for pattern in WRITTEN_ANEW):
            shutil.copyfile(path, directory / path.name)
    dtype = base_dtype(base_dir)
    model.to(dtype).save_pretrained(directory)
    _prove(directory, weights_of(model))
    return directory


def _prove(directory: Path, expected: Mapping[str, Tensor]) -> None:
    from transformers import WhisperForConditionalGeneration

    loaded = WhisperForConditionalGeneration.from_pretrained(directory, dtype="auto")
    found = weights_of(loaded)
    wrong = [
        name
        for name, value in expected.items()
        if name not in found or not torch.equal(found[name], value.cpu())
    ]
    if wrong or getattr(loaded.generation_config, "forced_decoder_ids", None):
        raise IntegrityError(
            "the saved checkpoint does not load to the model that was trained",
            where=str(directory),
            got=", ".join(wrong[:3]) or "forced_decoder_ids in its generation config",
            remedy="is the disk full? run the training again, it resumes",
        )

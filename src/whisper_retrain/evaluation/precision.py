"""Which precision `auto` is on this machine. What it is belongs to the decoding, so it is said
before an evaluation has its digest. Imports torch only where there is an NVIDIA driver.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from whisper_retrain.config import DecodingConfig
from whisper_retrain.cpu_bfloat16 import has_bfloat16

PRECISIONS = ("float32", "bfloat16", "float16")
NVIDIA = Path("/proc/driver/nvidia/gpus")


def with_precision(decoding: DecodingConfig) -> DecodingConfig:
    """The decoding with the precision that this machine gives it, where it leaves that open."""
    if decoding.precision != "auto":
        return decoding
    return DecodingConfig.model_validate({**decoding.model_dump(), "precision": best_precision()})


def is_decoding(digest: str, decoding: DecodingConfig) -> bool:
    """Whether a report's decoding is this one; open precision may have become any."""
    if decoding.precision != "auto":
        return digest == decoding.digest
    settings = decoding.model_dump()
    choices = (DecodingConfig.model_validate({**settings, "precision": p}) for p in PRECISIONS)
    return digest in {one.digest for one in choices}


@cache
def best_precision() -> str:
    """The fastest with enough digits to transcribe: half, where it is not emulated."""
    if NVIDIA.is_dir():
        import torch

        if torch.cuda.is_available():
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            return "bfloat16" if native else "float16"
    return "bfloat16" if has_bfloat16() else "float32"

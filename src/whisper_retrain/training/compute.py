"""How much computing a step is, and how much this machine could do: the share of the peak.

The peak is measured by matrix products on the same device at the same precision, so the share says
what is left to gain on this machine, not what a data sheet promises.
"""

from __future__ import annotations

import resource
import time
from typing import Any

import torch
from torch import Tensor

from whisper_retrain.whisper_constants import FRAMES_PER_POSITION

PRODUCT_SIZE = {"cuda": 8192, "cpu": 1024}  # large enough to keep every unit busy
MEASURED_S = 0.3


def forward_flop(config: Any, utterances: int, frames: int, tokens: int) -> float:
    """Floating-point operations of one forward pass: 2 per multiply-add of all matrix products.

    `frames` of 10 ms and `tokens` are padded lengths. Convolutions, attention and the output
    projection are counted, norms and activations left out (as by Chowdhery et al. 2022, app. B).
    """
    width, positions = config.d_model, frames // FRAMES_PER_POSITION
    # Multiply-adds, with width d, positions p, tokens t, hidden width f.
    # Two convolutions of 3 taps: 3 d (mel * frames + d p)
    convolutions = 3 * width * (config.num_mel_bins * frames + width * positions)
    # Scores and weighted sum: 2 p p d
    attention = 2 * positions * positions * width
    # Query, key, value, output: 4 d d; two layers of f: 2 d f; for each position
    encoder = positions * (4 * width**2 + 2 * width * config.encoder_ffn_dim) + attention
    # Query and output by token, key and value by position: 2 d d (t + p); scores and sum: 2 t p d
    cross = 2 * width**2 * (tokens + positions) + 2 * tokens * positions * width
    # As in the encoder, over tokens: 4 t d d + 2 t t d
    own = tokens * 4 * width**2 + 2 * tokens * tokens * width
    decoder = own + cross + tokens * 2 * width * config.decoder_ffn_dim
    head = tokens * width * config.vocab_size
    products = (
        convolutions + config.encoder_layers * encoder + config.decoder_layers * decoder + head
    )
    return 2.0 * utterances * products


def training_flop(config: Any, utterances: int, frames: int, tokens: int) -> float:
    """Forward and backward: three times the forward pass."""
    return 3.0 * forward_flop(config, utterances, frames, tokens)


def peak_flop_per_s(device: torch.device, dtype: torch.dtype, seconds: float = MEASURED_S) -> float:
    """Operations a second of square matrix products, the best of several rounds."""
    size = PRODUCT_SIZE.get(device.type, PRODUCT_SIZE["cpu"])
    one = torch.randn(size, size, device=device, dtype=dtype)
    other = torch.randn(size, size, device=device, dtype=dtype)
    _timed_product(one, other, device)
    best, until = 0.0, time.monotonic() + seconds
    while not best or time.monotonic() < until:
        best = max(best, 2.0 * size**3 / _timed_product(one, other, device))
    return best


def _timed_product(one: Tensor, other: Tensor, device: torch.device) -> float:
    synchronize(device)
    began = time.perf_counter()
    torch.matmul(one, other)
    synchronize(device)
    return time.perf_counter() - began


def synchronize(device: torch.device) -> None:
    """Wait for the device's queue."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory in use so far: of the GPU, or resident memory of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

"""bfloat16 on a CPU: whether this one has instructions for it, and attention that uses them.

Where it has (AVX512_BF16, AMX), a product of matrices in bfloat16 takes a quarter of the time that
it takes in float32. torch's fused attention for CPUs takes as long in both (torch 2.13): its values
without AMX, its gradients on all of them. Scores as plain products, in blocks that stay in the
cache, take half of that. Imports torch when used, not before.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

TILES = "amx_bf16"
INSTRUCTIONS = {"avx512_bf16", TILES}
"""As /proc/cpuinfo names them; others compute bfloat16 in float32 and convert, which is slower."""
BLOCK_SCORES = 1 << 21
"""Scores of one block: 4 MiB, so that softmax and the second product find them in the cache."""
BLOCKS = "cpu_blocks"
"""Under which transformers knows this attention."""


@cache
def _flags(cpuinfo: Path) -> frozenset[str]:
    """The first processor's; none where that can't be told."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor multiplies in bfloat16; False where that can't be told."""
    return not INSTRUCTIONS.isdisjoint(_flags(cpuinfo))


def has_tiles(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether it has AMX: the values of torch's fused attention are then the faster ones."""
    return TILES in _flags(cpuinfo)


def use_blocks(model: Any) -> None:
    """Let a model of transformers attend in blocks wherever it computes in bfloat16 on a CPU."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(BLOCKS, _attend)
    AttentionMaskInterface.register(BLOCKS, sdpa_mask)
    model.set_attn_implementation(BLOCKS)


def _attend(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
    """As transformers asks for it: (batch, heads, length, width) to (batch, length, heads, width).

    Left to torch's own: what is masked or causal, other precisions and devices, and where AMX
    serves it, whatever needs no gradients.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    blocked = query.device.type == "cpu" and query.dtype == torch.bfloat16
    blocked = blocked and (torch.is_grad_enabled() or not has_tiles())
    if mask is not None or module.is_causal or options.get("dropout") or not blocked:
        return sdpa_attention_forward(module, query, key, value, mask, **options)
    scale = options.get("scaling")
    query = query * (query.shape[-1] ** -0.5 if scale is None else scale)
    heads, queries, keys = query.shape[1], query.shape[2], key.shape[2]
    rows = max(1, BLOCK_SCORES // (heads * queries * keys))
    columns = max(1, BLOCK_SCORES // (heads * keys))
    # Autocast would take the softmax to float32 and back, which costs more than the products.
    with torch.autocast("cpu", enabled=False):
        found = [
            torch.cat([_weighted(part, k, v) for part in q.split(columns, dim=2)], dim=2)
            for q, k, v in zip(query.split(rows), key.split(rows), value.split(rows), strict=True)
        ]
    return torch.cat(found).transpose(1, 2), None


def _weighted(query: Any, key: Any, value: Any) -> Any:
    import torch

    return torch.softmax(query @ key.transpose(-1, -2), dim=-1) @ value

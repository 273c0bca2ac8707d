"""Known sizes with random weights: speed and memory, without corpus or tokenizer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.training_cells import Result, gib, measured, say
from benchmarks.training_recipes import Order

WHOLE = ("micro_batch_audio_s", 1e6)  # the effective batch at once
UNSORTED = ("bucket_batches", 1)
UNPACKED = ("packed_share", 0.0)
FULL = ("context_margin_s", 30.0)
LEVERS: dict[str, tuple[tuple[str, Any], ...]] = {
    "none of ours (our loop, 30 s)": (UNPACKED, FULL, UNSORTED, WHOLE),
    "micro-batches": (UNPACKED, FULL, UNSORTED),
    "short context": (UNPACKED, UNSORTED, WHOLE),
    "short context, micro-batches": (UNPACKED, UNSORTED),
    "short context, buckets": (UNPACKED, WHOLE),
    "short context, buckets, micro-batches": (UNPACKED,),
    "the same, half packed: default": (),
    "default, gradient checkpointing": (("gradient_checkpointing", True),),
    "default, LoRA of rank 8": (("lora_rank", 8),),
}
GPU_LEVERS: dict[str, tuple[tuple[str, Any], ...]] = {
    **LEVERS,
    "default, torch.compile": (("compile", True),),
}


def on_random_weights(
    device: str, sizes: Sequence[str], batch_size: int, budget_s: float
) -> Result:
    """Known sizes and noise as long as real utterances: speed, memory, share of peak; no WER."""
    until = time.monotonic() + budget_s
    found: Result = {"sizes": {}, "levers": {}}
    order = Order(
        device=device,
        size=sizes[0],
        batch_size=batch_size,
        steps=12,
        skip_steps=4,
        utterances=8 * batch_size,
    )
    for size in sizes:
        found["sizes"][size] = gpu_pair(replace(order, size=size), until)
    print(f"\nlevers, {sizes[0]}")
    say("setting", "", "audio-s/s", "peak GiB", "% of peak")
    for name, settings in GPU_LEVERS.items():
        if time.monotonic() > until:
            print("no time left for", name)
            continue
        # A compiler needs to have seen most lengths before it is timed.
        more = replace(order, steps=24, skip_steps=16) if "compile" in name else order
        found["levers"][name] = gpu_row(name, measured(replace(more, settings=settings)))
    return found


def gpu_pair(order: Order, until: float) -> Result:
    """Stock as the notebook (gradient checkpointing on), stock without it, ours."""
    print(f"\n{order.size}, effective batch {order.batch_size}")
    say("recipe", "", "audio-s/s", "peak GiB", "% of peak")
    rows: dict[str, Result] = {}
    recipes = {
        "ours": replace(order, recipe="ours"),
        "stock, gradient checkpointing": replace(
            order, recipe="stock", settings=(("gradient_checkpointing", True),)
        ),
        "stock": replace(order, recipe="stock"),
    }
    for name, one in recipes.items():
        if time.monotonic() < until:
            rows[name] = gpu_row(name, measured(one))
    ours, stock = rows.get("ours", {}), rows.get("stock", {})
    if "error" in ours or "error" in stock or not (ours and stock):
        return {"rows": rows}
    return {
        "rows": rows,
        "speedup": ours["audio_s_per_s"] / stock["audio_s_per_s"],
        "memory_ratio": ours["peak_memory_bytes"] / stock["peak_memory_bytes"],
    }


def gpu_row(name: str, result: Result) -> Result:
    """Print a row and keep its figures; a failure is a figure too."""
    if "error" in result:
        print(name, "FAILED", result["error"])
        return {"error": result["error"]}
    row = {k: result[k] for k in ("audio_s_per_s", "seconds_per_step", "peak_memory_bytes")}
    row |= {k: result[k] for k in ("peak_flop_per_s", "device", "torch")}
    if "flop_per_s" in result:
        row["share_of_peak"] = result["flop_per_s"] / result["peak_flop_per_s"]
    say(name, "", result["audio_s_per_s"], gib(result), 100 * row.get("share_of_peak", 0.0))
    return row

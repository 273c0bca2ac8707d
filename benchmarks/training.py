"""Our training recipe against the stock one: speed, peak memory, WER; and what each lever brings.

    python benchmarks/training.py [--seeds 3] [--steps 55] [--json FILE]    tiny.en, demo corpus
    python benchmarks/training.py --tables shares                           one table of it alone
    python benchmarks/training.py --device cuda [--json FILE]               random weights, a GPU

Both recipes train the same model on the same utterances with the same seed, steps, effective batch,
learning rate and precision, each in a process of its own, one after the other. WER is decoded the
standard way, with 30 s of context, on voices and sentences that no training split holds. On a GPU
neither corpus nor tokenizer is needed, and only speed and memory are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training_recipes import Order

ROOT = Path(__file__).resolve().parent.parent

Result = dict[str, Any]
WHOLE = ("micro_batch_audio_s", 1e6)  # the effective batch at once
UNSORTED = ("bucket_batches", 1)
LEVERS: dict[str, tuple[tuple[str, Any], ...]] = {
    "none of ours (our loop, 30 s)": (("context_margin_s", 30.0), UNSORTED, WHOLE),
    "micro-batches": (("context_margin_s", 30.0), UNSORTED),
    "short context": (UNSORTED, WHOLE),
    "short context, micro-batches": (UNSORTED,),
    "short context, buckets": (WHOLE,),
    "short context, buckets, micro-batches: default": (),
    "default, gradient checkpointing": (("gradient_checkpointing", True),),
    "default, LoRA of rank 8": (("lora_rank", 8),),
}
GPU_LEVERS: dict[str, tuple[tuple[str, Any], ...]] = {
    **LEVERS,
    "default, torch.compile": (("compile", True),),
}
SHARES = (0.0, 0.05, 0.1)


def main() -> None:
    """Measure, print the tables and write the JSON."""
    arguments = _arguments()
    synthetic = arguments.device == "cuda" or arguments.sizes
    figures = on_random_weights(arguments) if synthetic else on_cpu(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=55)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    tables = ["stock", "levers", "steps", "shares"]
    parser.add_argument("--tables", nargs="+", choices=tables, default=tables[:3])
    parser.add_argument("--sizes", nargs="+", help="random weights (a GPU's default: small medium)")
    parser.add_argument("--batch-size", type=int, default=32, help="with random weights")
    parser.add_argument("--budget-s", type=float, default=330, help="random weights: none later")
    parser.add_argument("--cache", type=Path, default=Path(".local/cache"))
    return parser.parse_args()


def measured(order: Order, environment: dict[str, str] | None = None) -> Result:
    """One training in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        ask, answer = Path(folder) / "order.json", Path(folder) / "result.json"
        ask.write_text(json.dumps(asdict(order)))
        path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, str(ROOT / "benchmarks" / "training_recipes.py"), ask, answer]
        done = subprocess.run(
            [str(part) for part in command],
            env={
                **os.environ,
                "PYTHONPATH": path,
                "TOKENIZERS_PARALLELISM": "false",
                **(environment or {}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            tail = "\n".join(done.stderr.splitlines()[-15:])
            return {**asdict(order), "error": f"exit code {done.returncode}:\n{tail}"}
        result: Result = json.loads(answer.read_text())
        return result


def on_cpu(arguments: argparse.Namespace) -> Result:
    """tiny.en on the demo corpus."""
    from whisper_retrain.local.demo.base_model import convert_base_model
    from whisper_retrain.local.demo.corpus import make_corpus

    order = Order(
        steps=arguments.steps,
        settings=(("learning_rate", arguments.learning_rate),),
        corpus=str(make_corpus(arguments.cache, 1, lambda *_: None)),
        base=str(convert_base_model(arguments.cache / "whisper-tiny.en")),
        skip_steps=1,
    )
    tables: dict[str, Callable[[], Result]] = {
        "stock": lambda: against_stock(order, arguments.seeds),
        "levers": lambda: levers(replace(order, steps=8), LEVERS),
        "steps": flatness,
        "shares": lambda: shares(order, arguments.seeds),
    }
    figures: Result = {}
    for name in arguments.tables:
        figures |= tables[name]()
    return figures


def against_stock(order: Order, seeds: int) -> Result:
    """Both recipes on each seed, and their difference in WER with its paired interval."""
    say("recipe", "seed", "audio-s/s", "peak GiB", "WER %")
    pairs = []
    for seed in range(1, seeds + 1):
        pair = {}
        for recipe in ("stock", "ours"):
            result = measured(replace(order, recipe=recipe, seed=seed, score=True))
            check(result)
            pair[recipe] = result
            say(recipe, seed, result["audio_s_per_s"], gib(result), 100 * result["wer"])
        pairs.append(pair)
    delta = paired_bootstrap(pairs)
    per_seed = [
        {
            "seed": pair["ours"]["seed"],
            "speedup": pair["ours"]["audio_s_per_s"] / pair["stock"]["audio_s_per_s"],
            "memory_ratio": pair["ours"]["peak_memory_bytes"] / pair["stock"]["peak_memory_bytes"],
            "wer_stock": pair["stock"]["wer"],
            "wer_ours": pair["ours"]["wer"],
            **paired_bootstrap([pair]),
        }
        for pair in pairs
    ]
    over_all = {
        name: float(np.mean([one[name] for one in per_seed]))
        for name in ("speedup", "memory_ratio", "wer_stock", "wer_ours")
    }
    figures = {**over_all, **delta, "seeds": per_seed}
    print(json.dumps(figures, indent=1))
    return figures


def paired_bootstrap(pairs: list[dict[str, Result]], rounds: int = 10_000) -> dict[str, float]:
    """WER(ours) - WER(stock) and its two-sided 95 % interval.

    Utterances are drawn with replacement (Bisani & Ney 2004), the same ones for both recipes and
    all seeds.
    """
    ours = np.sum([pair["ours"]["errors"] for pair in pairs], axis=0)
    stock = np.sum([pair["stock"]["errors"] for pair in pairs], axis=0)
    words = np.sum([pair["ours"]["words"] for pair in pairs], axis=0)
    drawn = np.random.default_rng(0).integers(0, len(words), (rounds, len(words)))
    deltas = (ours - stock)[drawn].sum(axis=1) / words[drawn].sum(axis=1)
    lower, upper = np.quantile(deltas, [0.025, 0.975])
    mean = (ours - stock).sum() / words.sum()
    ends = {"wer_delta_lower": float(lower), "wer_delta_upper": float(upper)}
    return {"wer_delta": float(mean), **ends}


def levers(order: Order, table: dict[str, tuple[tuple[str, Any], ...]]) -> Result:
    """Speed and memory with one lever after the other; the stock recipe is the measure."""
    found: dict[str, Result] = {}
    say("setting", "", "audio-s/s", "peak GiB", "x stock")
    for name, recipe in {"stock recipe": "stock", **dict.fromkeys(table, "ours")}.items():
        settings = order.settings + table.get(name, ())
        result = measured(replace(order, recipe=recipe, settings=settings))
        check(result)
        found[name] = {k: result[k] for k in ("audio_s_per_s", "peak_memory_bytes")}
        ratio = result["audio_s_per_s"] / found["stock recipe"]["audio_s_per_s"]
        found[name]["speedup"] = ratio
        say(name, "", result["audio_s_per_s"], gib(result), ratio)
    return {"levers": found}


def shares(order: Order, seeds: int) -> Result:
    """WER and words written on no speech, by the share of steps that keep the full 30 s."""
    say("share of steps with 30 s", "seed", "audio-s/s", "WER %", "words on no speech")
    base = measured(replace(order, recipe="base", score=True))
    check(base)
    say("(base model)", "", 0.0, 100 * base["wer"], words_on_probes(base))
    rows = [{"share": None, "wer": base["wer"], "probes": base["probes"]}]
    for seed, share in product(range(1, seeds + 1), SHARES):
        settings = (*order.settings, ("full_context_share", share))
        result = measured(replace(order, seed=seed, settings=settings, score=True))
        check(result)
        speed = result["audio_s_per_s"]
        say(f"{share:.2f}", seed, speed, 100 * result["wer"], words_on_probes(result))
        kept = ("seed", "wer", "probes", "audio_s_per_s", "errors", "words")
        rows.append({"share": share, **{name: result[name] for name in kept}})
    return {"shares": rows}


def flatness() -> Result:
    """Cost of a step by the number of utterances, with a model so small that the rest shows."""
    say("utterances", "", "audio-s/s", "ms a step", "peak GiB")
    rows = []
    order = Order(size="nano", steps=110, skip_steps=10)
    for count in (1_000, 10_000, 100_000):
        result = measured(replace(order, utterances=count))
        check(result)
        step_s = result["seconds_per_step"]
        say(count, "", result["audio_s_per_s"], 1e3 * step_s, gib(result))
        rows.append(
            {"utterances": count, "step_s": step_s, "peak_bytes": result["peak_memory_bytes"]}
        )
    return {"steps": rows}


def on_random_weights(arguments: argparse.Namespace) -> Result:
    """Known sizes and noise as long as real utterances: speed, memory, share of peak; no WER."""
    until = time.monotonic() + arguments.budget_s
    sizes = arguments.sizes or ["small", "medium"]
    found: Result = {"sizes": {}, "levers": {}}
    order = Order(
        device=arguments.device,
        size=sizes[0],
        batch_size=arguments.batch_size,
        steps=12,
        skip_steps=4,
        utterances=8 * arguments.batch_size,
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


def words_on_probes(result: Result) -> str:
    """Mean number of words written on each kind of no speech."""
    means = {
        name: np.mean([len(text.split()) for text in texts])
        for name, texts in result["probes"].items()
    }
    return ", ".join(f"{name} {mean:.1f}" for name, mean in means.items())


def gib(result: Result) -> float:
    """Peak memory in GiB."""
    return float(result["peak_memory_bytes"]) / 2**30


def check(result: Result) -> None:
    """Stop where a recipe failed."""
    if "error" in result:
        sys.exit(f"{result['recipe']} failed: {result['error']}")


def say(*cells: object) -> None:
    """One row of a table."""
    print(" ".join(_cells(cells)), flush=True)


def _cells(cells: Iterable[object]) -> Iterable[str]:
    for number, cell in enumerate(cells):
        text = f"{cell:.2f}" if isinstance(cell, float) else str(cell)
        yield text.ljust(50) if number == 0 else text.rjust(10)


if __name__ == "__main__":
    main()

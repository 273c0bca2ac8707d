"""Our training recipe against the stock one: speed, peak memory, WER; and what each lever brings.

    python benchmarks/training.py [--seeds 3] [--json FILE]      tiny.en, demo corpus
    python benchmarks/training.py --tables windows               one table of it alone
    python benchmarks/training.py --device cuda [--json FILE]    random weights, a GPU

Both recipes train the same model on the same utterances with the same seed, steps, effective batch,
learning rate and precision, each in a process of its own, one after the other. They are scored by
the gate's own code, with 30 s of context: words on sentences and voices that no training split
holds, words made up where nobody speaks, and dictations of 60 to 120 s. What was measured is kept
under the digest of its order and of the code that trains and scores, so that a stopped run goes
on. On a GPU neither corpus nor tokenizer is needed, and only speed and memory are measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training_cells import Result, check, gib, measured, say
from benchmarks.training_random import LEVERS, on_random_weights
from benchmarks.training_recipes import Order

ALONE = (("window_utterances", 1), ("silent_share", 0.0))
WINDOWS: dict[str, tuple[tuple[str, Any], ...]] = {
    "none": (("packed_share", 0.0),),
    "5 % alone in 30 s": (("packed_share", 0.05), *ALONE),
    "10 % alone in 30 s": (("packed_share", 0.1), *ALONE),
    "a quarter packed": (("packed_share", 0.25),),
    "half packed": (("packed_share", 0.5),),
}
LENGTHS = (60, 240)
"""Steps of our recipe; the stock one trains 60."""


def main() -> None:
    """Measure, print the tables and write the JSON."""
    arguments = _arguments()
    if arguments.device == "cuda" or arguments.sizes:
        sizes = arguments.sizes or ["small", "medium"]
        figures = on_random_weights(
            arguments.device, sizes, arguments.batch_size, arguments.budget_s
        )
    else:
        figures = on_cpu(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test-utterances", type=int, default=1500)
    parser.add_argument("--windows", nargs="+", default=list(WINDOWS), help="rows of that table")
    parser.add_argument("--lengths", nargs="+", type=int, default=list(LENGTHS), help="steps")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    tables = ["stock", "levers", "steps", "windows"]
    parser.add_argument("--tables", nargs="+", choices=tables, default=tables[:3])
    parser.add_argument("--sizes", nargs="+", help="random weights (a GPU's default: small medium)")
    parser.add_argument("--batch-size", type=int, default=32, help="with random weights")
    parser.add_argument("--budget-s", type=float, default=330, help="random weights: none later")
    parser.add_argument("--cache", type=Path, default=Path(".local/cache"))
    return parser.parse_args()


def on_cpu(arguments: argparse.Namespace) -> Result:
    """tiny.en on the demo corpus."""
    from whisper_retrain.local.demo.base_model import convert_base_model
    from whisper_retrain.local.demo.corpus import make_corpus

    cache = arguments.cache.absolute()
    order = Order(
        settings=(("learning_rate", arguments.learning_rate),),
        corpus=str(make_corpus(cache, 1, lambda *_: None)),
        base=str(convert_base_model(cache / "whisper-tiny.en")),
        cache=str(cache),
        skip_steps=1,
    )
    scored = replace(order, score=arguments.test_utterances)
    tables: dict[str, Callable[[], Result]] = {
        "stock": lambda: against_stock(scored, arguments.seeds),
        "levers": lambda: levers(replace(order, steps=8), LEVERS),
        "steps": flatness,
        "windows": lambda: windows(scored, arguments),
    }
    figures: Result = {}
    for name in arguments.tables:
        figures |= tables[name]()
    return figures


def against_stock(order: Order, seeds: int) -> Result:
    """Both recipes on each seed, ours at all lengths, and what they are worth."""
    heading()
    base = row("base model", replace(order, recipe="base"))
    stock = [
        row("stock", replace(order, recipe="stock", steps=LENGTHS[0], seed=seed))
        for seed in range(1, seeds + 1)
    ]
    lengths = {
        steps: [
            row(f"ours, {steps} steps", replace(order, steps=steps, seed=seed))
            for seed in range(1, seeds + 1)
        ]
        for steps in LENGTHS
    }
    figures = {
        "speedup": mean_ratio(lengths[LENGTHS[0]], stock, "audio_s_per_s"),
        "memory_ratio": mean_ratio(lengths[LENGTHS[0]], stock, "peak_memory_bytes"),
        "wer_stock": mean(stock, "wer"),
        **max(
            (paired_bootstrap(ours, stock) for ours in lengths.values()),
            key=lambda delta: delta["wer_delta"],
        ),
        "longform_delta": max(longform_delta(ours) for ours in lengths.values()),
        "longform_base": base["longform_wer"],
        "longform_ours": max(mean(ours, "longform_wer") for ours in lengths.values()),
        "probe_words_over_base": max(
            float(np.mean([words_over(one, base) for one in ours])) for ours in lengths.values()
        ),
    }
    for steps, ours in lengths.items():
        figures[f"steps_{steps}"] = {
            "wer": mean(ours, "wer"),
            **paired_bootstrap(ours, stock),
            "longform_delta": longform_delta(ours),
            "probe_words_over_base": float(np.mean([words_over(one, base) for one in ours])),
        }
    print(json.dumps(figures, indent=1))
    return figures


def windows(order: Order, arguments: argparse.Namespace) -> Result:
    """What windows of 30 s bring: of which kind, how many, at each length of training."""
    heading()
    base = row("base model", replace(order, recipe="base"))
    found: list[Result] = []
    for name, steps, seed in product(
        arguments.windows, arguments.lengths, range(1, arguments.seeds + 1)
    ):
        settings = order.settings + WINDOWS[name]
        result = row(
            f"{name}, {steps} steps", replace(order, steps=steps, seed=seed, settings=settings)
        )
        found.append(
            {
                "windows": name,
                "steps": steps,
                "seed": seed,
                "audio_s_per_s": result["audio_s_per_s"],
                "wer": result["wer"],
                "longform_wer": result["longform_wer"],
                "longform_short_wer": result["longform_short_wer"],
                "probes": result["probes"],
                "probe_words_over_base": words_over(result, base),
            }
        )
    return {"windows": found}


def row(name: str, order: Order) -> Result:
    """Measure, and print what one training is worth."""
    result = measured(order)
    check(result)
    probes = ", ".join(f"{kind} {words:.1f}" for kind, words in result["probes"].items())
    lost = max(one["longest_deletion"] for one in result["dictations"])
    say(
        name,
        order.seed,
        result.get("audio_s_per_s", 0.0),
        gib(result) if "peak_memory_bytes" in result else 0.0,
        100 * result["wer"],
        100 * result["longform_wer"],
        100 * (result["longform_wer"] - result["longform_short_wer"]),
        lost,
        f"  {probes}",
    )
    return result


def heading() -> None:
    """Over the rows."""
    say(
        "recipe", "seed", "audio-s/s", "peak GiB", "WER %", "long %", "- short", "lost", "  made up"
    )


def mean(results: list[Result], name: str) -> float:
    """Over seeds."""
    return float(np.mean([one[name] for one in results]))


def mean_ratio(ours: list[Result], stock: list[Result], name: str) -> float:
    """Over seeds, each against the same seed."""
    return float(np.mean([a[name] / b[name] for a, b in zip(ours, stock, strict=True)]))


def longform_delta(results: list[Result]) -> float:
    """WER of dictations less that of the same utterances one by one, over seeds."""
    return mean(results, "longform_wer") - mean(results, "longform_short_wer")


def words_over(result: Result, base: Result) -> float:
    """Words made up a probe beyond the base model's, the kinds alike."""
    return float(
        np.mean([words - base["probes"][kind] for kind, words in result["probes"].items()])
    )


def paired_bootstrap(
    ours: list[Result], stock: list[Result], rounds: int = 10_000
) -> dict[str, float]:
    """WER(ours) - WER(stock) and its two-sided 95 % interval.

    Speakers are drawn with replacement (Liu & Peng 2020), the same ones for both recipes and all
    seeds.
    """
    names = ours[0]["speakers"]
    speakers = sorted(set(names))
    which = np.array([speakers.index(name) for name in names])

    def by_speaker(results: list[Result], counts: str) -> np.ndarray:
        summed = np.sum([one[counts] for one in results], axis=0)
        return np.bincount(which, weights=summed)

    more = by_speaker(ours, "errors") - by_speaker(stock, "errors")
    words = by_speaker(ours, "words")
    drawn = np.random.default_rng(0).integers(0, len(speakers), (rounds, len(speakers)))
    lower, upper = np.quantile(more[drawn].sum(axis=1) / words[drawn].sum(axis=1), [0.025, 0.975])
    return {
        "wer_delta": float(more.sum() / words.sum()),
        "wer_delta_lower": float(lower),
        "wer_delta_upper": float(upper),
    }


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


if __name__ == "__main__":
    main()

"""The gate's figures: calibration, power, speed, planted faults; a table, and JSON with --json.

    python benchmarks/gate.py [--json FILE] [--quick] [--no-transcription] [--tables earlier]

Simulated comparisons use 1,000 bootstrap replicates (the gate uses 10,000); the bootstrap's own
error at 1,000 is a tenth of what the number of simulations leaves open. They judge the
improvement rule alone: what the other rules hold back comes on top.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.gate_cells import Cells
from benchmarks.gate_cells import figures as decisions
from benchmarks.gate_simulation import (
    DEMO,
    PAULMOONEY,
    PAULMOONEY_BOTH,
    PAULMOONEY_PHRASES,
    familywise,
    promoted,
)
from tests.fixtures.pairs import Half, Set, by_class, pairs, share_found
from tests.fixtures.planted import PLANTED, better, caught
from whisper_retrain.clinical import Names, find_harm
from whisper_retrain.clinical.view import clinical_view
from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.evaluation.scoring import score_pairs
from whisper_retrain.gate.ledger import alpha_of_look
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.statistics import Paired, compare
from whisper_retrain.normalizer import normalize

STRUCTURES = (DEMO, PAULMOONEY_BOTH, PAULMOONEY_PHRASES, PAULMOONEY)
EFFECTS = (0.005, 0.01, 0.02)
REPLICATES = 1000
POLICY = GatePolicy()
FIRST_LOOK = alpha_of_look(1, POLICY.alpha, POLICY.planned_looks)
SHOWN = Console()


def calibration(runs: int) -> dict[str, Any]:
    """Equal models: how often each way of comparing calls the challenger better."""
    found = {}
    for structure in STRUCTURES:
        used, point = promoted(structure, 0.0, runs, FIRST_LOOK, REPLICATES)
        nominal, _ = promoted(structure, 0.0, runs, 0.05, REPLICATES)
        found[structure.name] = {"gate": used, "gate at 5 %": nominal, "point": point}
        SHOWN.print(f"calibration, {structure.name}: {found[structure.name]}")
    return found


def power(runs: int) -> dict[str, dict[str, float]]:
    """Share of true improvements found, by utterances and WER points, at a first look."""
    table: dict[str, dict[str, float]] = {}
    for structure in STRUCTURES[1:]:
        row = table.setdefault(str(structure.utterances), {})
        for effect in EFFECTS:
            share, _ = promoted(structure, effect, runs, FIRST_LOOK, REPLICATES)
            nominal, _ = promoted(structure, effect, runs, 0.05, REPLICATES)
            row[f"{100 * effect:g}"], row[f"{100 * effect:g} at 5 %"] = share, nominal
        SHOWN.print(f"power, {structure.utterances} utterances: {row}")
    return table


def best_of(times: int, run: Callable[[], object]) -> float:
    """Seconds of the fastest run: what the machine's other load takes away is not ours."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


def bootstrap_speed() -> float:
    """10,000 replicates over 6,000 utterances, by speakers and by phrases, on one core."""
    rng = np.random.default_rng(1)
    a, b = (rng.binomial(10, 0.1, 6000).astype(np.float64) for _ in range(2))
    pairs = Paired(a, b, np.full(6000, 10.5))
    views = {
        "speaker": rng.integers(0, 124, 6000).tolist(),
        "phrase": rng.integers(0, 700, 6000).tolist(),
    }
    return best_of(5, lambda: compare(pairs, views, alpha=0.05))


def scoring_speed() -> float:
    """6,000 utterances of 700 phrases, every tenth word wrong, each wrong in its own way."""
    rng = random.Random(1)
    text = "my chest hurts when i breathe and the doctor said take metformin 500 mg twice"
    words = text.split()
    phrases = [" ".join(rng.choices(words, k=10)) for _ in range(700)]
    said = [rng.choice(phrases) for _ in range(6000)]
    heard = [" ".join(w if rng.random() > 0.1 else f"x{w}" for w in t.split()) for t in said]

    def run() -> None:
        normalize.cache_clear()
        score_pairs(said, heard)

    return best_of(3, run)


def clinical_speed() -> float:
    """6,000 pairs of texts of about twelve words on one core, none read before."""
    sets: tuple[Set, Set] = ("harmful", "harmless")
    halves: tuple[Half, Half] = ("tune", "report")
    some = [one for name in sets for half in halves for one in pairs(name, half)]
    read = [
        (f"{one.reference} {number}", f"{one.hypothesis} {number}")
        for number, one in enumerate(islice(cycle(some), 6000))
    ]
    names = Names(default_lexicon().tiers)

    def run() -> None:
        clinical_view.cache_clear()
        for said, written in read:
            find_harm(said, written, names)

    return best_of(3, run)


def clinical_eyes() -> dict[str, Any]:
    """What is seen and what alarms, on the half of the pairs that no rule was written on."""
    harmful, harmless = by_class(pairs("harmful", "report")), by_class(pairs("harmless", "report"))
    return {
        "safety_seen": share_found(harmful),
        "safety_alarms": share_found(harmless),
        "safety_seen_by_class": harmful,
        "safety_alarms_by_class": harmless,
    }


def planted() -> dict[str, str]:
    """Fault -> how it was caught ("" when it was not)."""
    if better().outcome != "promote":
        raise SystemExit("the control, a better challenger without a fault, was not promoted")
    return {name: caught(fault) for name, fault in PLANTED.items()}


def show(figures: dict[str, Any]) -> None:
    """All figures as a table, with the bounds that they must keep."""
    table = Table("figure", "value", "bound", title="The gate")
    for name, bound in (
        ("false_promotion", "at most 0.05"),
        ("false_promotion_point", "0.42 to 0.49 elsewhere"),
        ("familywise_52", "at most 0.05"),
        ("bootstrap_s", "under 1"),
        ("scoring_s", "under 3"),
        ("transcription_speedup", "at least 1.2"),
        ("transcription_speedup_over_bounded", ""),
        ("clinical_s", "under 3"),
        ("safety_seen", "at least 0.95"),
        ("safety_alarms", "at most 0.05"),
        ("planted_caught", "all"),
        ("promoted_better_1019", "at least 0.85"),
        ("promoted_better_1019_look20", ""),
        ("promoted_better_1019_uneven", "at least 0.70"),
        ("promoted_better_1019_uneven_look20", ""),
        ("promoted_better_7", "at least 0.97"),
        ("promoted_better_7_look20", ""),
        ("promoted_better_255", ""),
        ("promoted_better_runaways", ""),
        ("promoted_equal_year", "at most 0.05"),
        ("harm15_caught", "at least 0.90"),
        ("harm2_caught", "at least 0.99"),
        ("calibration_worst", "at most 0.06"),
        ("year_found_late", "at least 0.5"),
        ("grow_year", "at most 0.05"),
    ):
        value = figures.get(name)
        table.add_row(name, "not run" if value is None else f"{value:.4g}", bound)
    SHOWN.print(table)


def earlier(runs: int, options: argparse.Namespace) -> dict[str, Any]:
    """Speeds, clinical eyes, planted faults, and the improvement rule alone."""
    figures: dict[str, Any] = {"bootstrap_s": bootstrap_speed(), "scoring_s": scoring_speed()}
    figures |= {"clinical_s": clinical_speed(), **clinical_eyes()}
    faults = planted()
    figures |= {
        "planted": faults,
        "planted_caught": sum(bool(how) for how in faults.values()),
        "planted_total": len(faults),
    }
    found = calibration(runs)
    figures |= {
        "calibration": found,
        "false_promotion": max(one["gate"] for one in found.values()),
        "false_promotion_nominal": max(one["gate at 5 %"] for one in found.values()),
        "false_promotion_point": max(one["point"] for one in found.values()),
        "power": power(runs // 5),
        "familywise_52": familywise(PAULMOONEY_PHRASES, 52, runs // 5, POLICY.alpha, REPLICATES),
        "familywise_52_demo": familywise(DEMO, 52, runs // 5, POLICY.alpha, REPLICATES),
    }
    if not options.no_transcription:
        from benchmarks.gate_transcription import transcription

        figures |= transcription(options.utterances)
    return figures


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="a tenth of the simulations")
    parser.add_argument("--no-transcription", action="store_true")
    parser.add_argument(
        "--tables",
        choices=("all", "earlier", "decisions"),
        default="all",
        help="earlier: the improvement rule and speeds; decisions: all rules, simulated by counts",
    )
    parser.add_argument(
        "--cells", type=Path, default=Path(".local/benchmarks/gate"), help="where parts are kept"
    )
    parser.add_argument("--utterances", type=int, default=96, help="to transcribe")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    if options.tables != "decisions":
        figures |= earlier(100 if options.quick else 1000, options)
    if options.tables != "earlier":
        cells = Cells(options.cells, scale=0.1 if options.quick else 1.0)
        figures |= decisions(cells.run(SHOWN.print))
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

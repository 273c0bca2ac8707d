"""Cells of the gate's tables: each a share of simulated runs, cut into parts that are kept.

A part's result lies under the digest of what it was asked and of the code that answers, so that a
stopped run goes on where it was, and a changed rule is simulated anew. Defaults were chosen with
seed CHOOSE; what is reported comes from seed REPORT.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import gate_better, gate_calibration, gate_counts
from benchmarks.gate_better import finds_better
from benchmarks.gate_calibration import SHAPES, Shape, called_better
from benchmarks.gate_counts import UNEVEN, Heard, Plan, TestSet, contest
from benchmarks.gate_texts import judged_texts
from whisper_retrain.gate import (
    ledger,
    paired,
    rules,
    safety_rules,
    slices,
    statistics,
    worst,
)
from whisper_retrain.gate.contest import Contest
from whisper_retrain.gate.decision import DecisionJob
from whisper_retrain.gate.ledger import Standing, share_of_look
from whisper_retrain.gate.measures import bounded
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.statistics import Paired
from whisper_retrain.records import digest_of

CHOOSE, REPORT = 1, 2
PARTS = 24
"""Of a cell: what is lost when a run is stopped."""
POLICY = GatePolicy(replicates=1000)
STOPS = {"fail", "inconclusive"}
SLOW_UNITS = (0.41, 0.57)
"""Suits by speaker and phrase under which a difference has a standard error of 0.49 points."""
GROWS_FROM, GROWS_BY = 255, 15
"""Utterances of a growing test set, at first and a week."""
RATIOS = (0.25, 0.33, 0.4, 0.5)


@dataclass(frozen=True)
class Cell:
    """One question, asked `runs` times."""

    name: str
    ask: str
    """Name of a function of this module: (plan, rng) -> what was so, by name."""
    plan: Plan | Shape
    runs: int = 600


CELLS = (
    Cell("promoted_better_1019", "judged", Plan()),
    Cell("promoted_better_1019_uneven", "judged", Plan(suits=UNEVEN)),
    Cell("promoted_better_7", "judged", Plan(lower=0.03)),
    Cell("promoted_better_255", "judged", Plan(utterances=255, speakers=25, phrases=140)),
    Cell("promoted_better_runaways", "judged", Plan(lower=0.02, runaways=0.005), runs=200),
    Cell("harm15_caught", "judged", Plan(harm=1.5)),
    Cell("harm2_caught", "judged", Plan(harm=2.0)),
    Cell("equal_year", "a_year", Plan(lower=0.0), runs=400),
    # 0.8 points in all: medical terms gain less than the other words
    Cell("found_late", "a_year", Plan(lower=0.0083, suits=SLOW_UNITS), runs=300),
    Cell("grow_year", "a_growing_year", Plan(lower=0.0), runs=200),
    *(Cell(f"calibration, {one.name}", "equal", one, runs=5000) for one in SHAPES),
    Cell("text_better", "judged_texts", Plan(), runs=48),
    Cell("text_harm15", "judged_texts", Plan(harm=1.5), runs=24),
    Cell("trade_better", "traded", Plan(), runs=100),
    Cell("trade_harm125", "traded", Plan(harm=1.25), runs=100),
    Cell("trade_harm15", "traded", Plan(harm=1.5), runs=100),
    Cell("trade_harm2", "traded", Plan(harm=2.0), runs=100),
)


def judged(plan: Plan, rng: np.random.Generator) -> dict[str, bool]:
    """Whether a challenger is promoted at the first look, and at the 20th.

    At the 20th, too, the guards have all of their first share: no look before it found a better
    challenger. Slices and speakers are looked at only where all else passes.
    """
    world = TestSet(plan, rng)
    champion, challenger = world.model(), world.model(plan.lower, plan.harm)
    safe = _guarded(world, champion, challenger)
    found = {"guards": safe}
    for look in (1, 20):
        standing = Standing(looks=look - 1, charged=0)
        found[f"look{look} improvement"] = better = _is_better(
            world, champion, challenger, standing
        )
        found[f"look{look}"] = better and safe
    return found


def _guarded(world: TestSet, champion: Heard, challenger: Heard) -> bool:
    """Whether no rule but that of the improvement stands in the way, at a first look."""
    at = contest(world, champion, challenger, POLICY)
    return _passes(_guards(at)) and _passes(_whatever_look(at))


def traded(plan: Plan, rng: np.random.Generator) -> dict[str, bool]:
    """Whether the guards that protect people stop it, by how much harm they must rule out."""
    world = TestSet(plan, rng)
    first = contest(world, world.model(), world.model(plan.lower, plan.harm), POLICY)
    found = {}
    for ratio in RATIOS:
        policy = POLICY.model_copy(update={"harm_ratio": ratio})
        at = replace(first, policy=policy)
        vars(at).update(_kept(first))
        found[f"{ratio:g}"] = not _passes(_guards(at))
    return found


def a_year(plan: Plan, rng: np.random.Generator) -> dict[str, bool]:
    """52 challengers on one test set, the first nine no better; whether any is promoted."""
    world, charged, begins = TestSet(plan, rng), 0, 9 if plan.lower else 0
    champion = world.model()
    early = late = False
    for week in range(52):
        challenger = world.model(plan.lower if week >= begins else 0.0)
        better, promoted = _look(world, champion, challenger, Standing(looks=week, charged=charged))
        early, late = early or (promoted and week < begins), late or (promoted and week >= begins)
        charged += better
        if promoted:
            break
    return {"promoted": early or late, "late": late}


def a_growing_year(plan: Plan, rng: np.random.Generator) -> dict[str, bool]:
    """52 equal challengers on a test set that grows each week."""
    size = GROWS_FROM + 51 * GROWS_BY
    whole = replace(plan, utterances=size, speakers=size // 10, phrases=size // 8)
    world, spent, seen, charged = TestSet(whole, rng), 0.0, 0, 0
    champion = world.model()
    for week in range(52):
        count = GROWS_FROM + week * GROWS_BY
        unseen = float(world.words[seen:count].sum() / world.words[:count].sum())
        share = share_of_look(week, POLICY.planned_looks, spent=spent, unseen=unseen)
        standing = Standing(looks=week, share=share, charged=charged)
        better, promoted = _look(world, champion, world.model(), standing, count)
        spent, seen, charged = spent + share, count, charged + better
        if promoted:
            return {"promoted": True}
    return {"promoted": False}


def _look(
    world: TestSet, champion: Heard, challenger: Heard, standing: Standing, count: int | None = None
) -> tuple[bool, bool]:
    """Whether the challenger is found better, and whether it is promoted; guards on demand.

    A growing set, of which `count` utterances are there, is asked about the improvement alone.
    """
    if not _is_better(world, champion, challenger, standing, count):
        return False, False
    if count:
        return True, True
    at = contest(world, champion, challenger, POLICY, standing)
    return True, _passes(_guards(at)) and _passes(_whatever_look(at))


def _is_better(
    world: TestSet, champion: Heard, challenger: Heard, standing: Standing, count: int | None = None
) -> bool:
    """What the rules `improvement` and `least-improvement` say."""
    part = slice(0, count or len(world.words))
    sides = [_errors(world, one)[part] for one in (champion, challenger)]
    pairs = bounded(Paired(sides[0], sides[1], world.words[part].astype(np.float64)))
    alpha = POLICY.alpha * standing.improvement_share(POLICY.planned_looks)
    if pairs.difference > -POLICY.min_improvement or not alpha:
        return False
    views = {"speaker": world.speaker[part].tolist(), "phrase": world.phrase[part].tolist()}
    return finds_better(pairs, views, alpha=alpha, replicates=POLICY.replicates)


def _errors(world: TestSet, heard: Heard) -> Any:
    medical = np.bincount(world.term_at[heard.wrong], minlength=len(world.words))
    return (heard.errors + medical).astype(np.float64)


def _whatever_look(at: Contest) -> list[Any]:
    some = (safety_rules.newly_broken, rules.slices, rules.worst_speakers, rules.highest_wer)
    return [outcome for rule in some for outcome in rule(at)]


def _guards(at: Contest) -> list[Any]:
    return [*rules.medical(at), *safety_rules.safety(at)]


def _passes(found: list[Any]) -> bool:
    return not any(one.outcome in STOPS for one in found)


def _kept(made: Contest) -> dict[str, Any]:
    kept = ("terms", "safety", "champion_rows", "challenger_rows", "slices")
    return {name: value for name, value in vars(made).items() if name in kept}


def equal(shape: Shape, rng: np.random.Generator) -> dict[str, bool]:
    """Whether an equal model is called better at a nominal 5 %."""
    return {"better": called_better(shape, rng)}


ASKED: dict[str, Callable[[Any, np.random.Generator], dict[str, bool]]] = {
    one.__name__: one for one in (judged, judged_texts, traded, a_year, a_growing_year, equal)
}


def code_digest() -> str:
    """Of all that a simulated decision depends on; a changed rule raises the decision's version."""
    tests = (statistics, paired, ledger, slices, worst, gate_counts, gate_calibration, gate_better)
    texts = {one.__name__: Path(one.__file__ or "").read_text() for one in tests}
    return digest_of([texts, POLICY.digest, DecisionJob.version])


def run_part(cell: Cell, seed: int, part: int, runs: int) -> dict[str, int]:
    """How often each answer was yes in some runs of a cell."""
    rng = np.random.default_rng([seed, part])
    found: dict[str, int] = {"runs": runs}
    for _ in range(runs):
        for name, was in ASKED[cell.ask](cell.plan, rng).items():
            found[name] = found.get(name, 0) + bool(was)
    return found


@dataclass(frozen=True)
class Cells:
    """All cells, on as many processes as there are cores, each part kept in a folder."""

    folder: Path
    seed: int = REPORT
    scale: float = 1.0
    """Share of the runs, for a quick look."""

    def run(self, told: Callable[[str], None]) -> dict[str, dict[str, int]]:
        """Cell -> answers and how often; what was kept is not run again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        code, found = code_digest(), {}
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            waiting = {
                cell.name: [
                    (path, pool.submit(run_part, cell, self.seed, part, runs)
                     if not path.exists() else None)
                    for part, runs, path in self._parts(cell, code)
                ]
                for cell in CELLS
            }  # fmt: skip
            for name, parts in waiting.items():
                for path, future in parts:
                    if future is not None:
                        path.write_text(json.dumps(future.result()))
                found[name] = _summed(json.loads(path.read_text()) for path, _ in parts)
                told(f"{name}: {found[name]}")
        return found

    def _parts(self, cell: Cell, code: str) -> Iterator[tuple[int, int, Path]]:
        runs = max(1, round(cell.runs * self.scale))
        size = -(-runs // PARTS)
        for part in range(-(-runs // size)):
            here = min(size, runs - part * size)
            digest = digest_of([asdict(cell), self.seed, part, here, code])
            yield part, here, self.folder / f"{digest}.json"


def _summed(parts: Iterator[dict[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            found[name] = found.get(name, 0) + count
    return found


def figures(found: dict[str, dict[str, int]]) -> dict[str, Any]:
    """The named figures as fractions, an interval beside each."""
    wanted = {
        "promoted_better_1019": ("promoted_better_1019", "look1"),
        "promoted_better_1019_uneven": ("promoted_better_1019_uneven", "look1"),
        "promoted_better_7": ("promoted_better_7", "look1"),
        "promoted_better_255": ("promoted_better_255", "look1"),
        "promoted_better_runaways": ("promoted_better_runaways", "look1"),
        "text_promoted_better_1019": ("text_better", "look1"),
        "promoted_equal_year": ("equal_year", "promoted"),
        "year_found_late": ("found_late", "late"),
        "grow_year": ("grow_year", "promoted"),
    }
    for name in list(wanted):
        if name.startswith("promoted") and wanted[name][1] == "look1":
            wanted[f"{name}_look20"] = (wanted[name][0], "look20")
    told: dict[str, Any] = {}
    for name, (cell, answer) in wanted.items():
        told |= _share(name, found[cell].get(answer, 0), found[cell]["runs"])
    for name, cell in (
        ("harm15_caught", "harm15_caught"),
        ("harm2_caught", "harm2_caught"),
        ("text_harm15_caught", "text_harm15"),
    ):
        runs = found[cell]["runs"]
        told |= _share(name, runs - found[cell].get("look1", 0), runs)
    shares = {
        name.removeprefix("calibration, "): one.get("better", 0) / one["runs"]
        for name, one in found.items()
        if name.startswith("calibration")
    }
    worst_name = max(shares, key=shares.__getitem__)
    one = found[f"calibration, {worst_name}"]
    told |= _share("calibration_worst", one.get("better", 0), one["runs"])
    told["calibration_shapes"] = shares
    told["trade"] = {
        cell: {answer: count / found[cell]["runs"] for answer, count in found[cell].items()}
        for cell in found
        if cell.startswith("trade")
    }
    told["cells"] = found
    return told


def _share(name: str, count: int, runs: int) -> dict[str, Any]:
    low, high = wilson(count, runs)
    return {name: count / runs, f"{name}_interval": [low, high]}


def wilson(count: int, runs: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    share = count / runs
    middle = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z * sqrt(share * (1 - share) / runs + (z / (2 * runs)) ** 2) / (1 + z * z / runs)
    return max(0.0, middle - half), min(1.0, middle + half)

"""`make demo` and `make demo-next` on other corpora, without the stack: is drop 2 promoted?

    python benchmarks/demo_seeds.py [--seeds 1 2 3] [--json FILE] [--cache DIR]

A seed deals the demo's sentences to its voices in another way and is the seed of the trainings;
settings are those of the deployment `demo` in prefect.yaml. Seed 1 is the demo itself. Faulty
recordings, which a refresh quarantines, are left out. A stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.real_world import real_world
from benchmarks.year_corpus import MONTHS, Reading, everyday, spoken
from benchmarks.year_pieces import Model, World
from tests.fixtures.s3 import running_s3
from whisper_retrain.config import DecodingConfig, TrainingConfig
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.local.demo.plan import DROPS, readings
from whisper_retrain.local.demo.speakers import (
    NEW_SPEAKERS,
    SPEAKERS,
    TEST_SPEAKERS,
    TRAIN_SPEAKERS,
    VALIDATION_SPEAKERS,
)
from whisper_retrain.records import DatasetRevision, Decision

ROOT = Path(__file__).parents[1]
GROUPS = (TRAIN_SPEAKERS, VALIDATION_SPEAKERS, TEST_SPEAKERS, NEW_SPEAKERS)
THE_DEMO = 1
"""The seed that deals as the demo does."""


@dataclass(frozen=True)
class Drop:
    """What became of a drop."""

    decision: Decision
    """The gate's."""
    champion_wer: float
    """On the test set, a fraction."""
    challenger_wer: float
    """The same."""


def dealt(drop: int, seed: int) -> tuple[Reading, ...]:
    """The readings of a drop with voices exchanged for others of their group."""
    others = _exchanged(seed)
    return tuple(
        Reading(f"{drop}-{one.id}", SPEAKERS[others[one.speaker_id]], one.spoken, one.sentence,
                one.prompt)
        for one in readings(drop)
        if not one.fault
    )  # fmt: skip


def _exchanged(seed: int) -> dict[int, int]:
    rng = random.Random(seed)
    pairs: dict[int, int] = {}
    for group in GROUPS:
        before = [one.id for one in group]
        after = before if seed == THE_DEMO else rng.sample(before, len(before))
        pairs |= dict(zip(before, after, strict=True))
    return pairs


def demo_settings() -> tuple[TrainingConfig, DecodingConfig, GatePolicy]:
    """How the deployment `demo` trains and transcribes, and by which rules it decides."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (demo,) = (one["parameters"] for one in deployments if one["name"] == "demo")
    return (
        TrainingConfig(**demo["training"]),
        DecodingConfig(**demo["decoding"]),
        GatePolicy(**demo["policy"]),
    )


def two_drops(world: World, general: DatasetRevision, folder: Path, seed: int) -> list[Drop]:
    """The first drop against the base model, the second against whoever is champion then."""
    champion, found, drops = world.base_model, [], []
    for number in DROPS:
        drops.append((spoken(folder, f"demo-{seed}-{number}", dealt(number, seed), world.say),
                      dealt(number, seed)))  # fmt: skip
        month = MONTHS[number - 1]
        dataset = world.dataset(month, drops)
        made = world.made(f"demo-{seed}-{number}", dataset, champion, world.training,
                          world.candidates)  # fmt: skip
        challenger = made.models[0]
        books = f"demo-{seed}"
        decision = world.decision(books, month, champion, challenger, dataset, general)
        both = [_wer(world, one, dataset) for one in (champion, challenger)]
        found.append(Drop(decision, *both))
        world.say(f"seed {seed}, drop {number}: {decision.outcome}, WER {both[0]:.2%} -> "
                  f"{both[1]:.2%}")  # fmt: skip
        world.say("\n".join(f"    {line}" for line in decision.plain))
        champion = challenger if decision.outcome == "promote" else champion
    return found


def _wer(world: World, model: Model, dataset: DatasetRevision) -> float:
    return world.tested(model, dataset).report.words.error_rate


def figures(drops: dict[int, list[Drop]]) -> dict[str, Any]:
    """How many second drops were promoted, and what was said of each."""
    return {
        "promoted": sum(found[-1].decision.outcome == "promote" for found in drops.values()),
        "seeds": len(drops),
        "drops": {
            seed: [
                {
                    "outcome": one.decision.outcome,
                    "champion_wer": one.champion_wer,
                    "challenger_wer": one.challenger_wer,
                    "plain": one.decision.plain,
                }
                for one in found
            ]
            for seed, found in drops.items()
        },
    }


def main() -> None:
    """Both drops for each seed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; run again to go on"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--cache", type=Path, default=Path(".local/cache/demo-seeds"))
    arguments = parser.parse_args()
    cache: Path = arguments.cache.absolute()
    (cache / "s3").mkdir(parents=True, exist_ok=True)
    with running_s3(cache / "s3", keep=True) as server:
        training, decoding, policy = demo_settings()
        world = real_world(
            cache, server, training, decoding=decoding, policy=policy, validation_share=0.06
        )
        general = world.test_set(spoken(cache, "everyday", everyday(), world.say), is_guard=True)
        found = {
            seed: two_drops(_seeded(world, seed), general, cache, seed) for seed in arguments.seeds
        }
    print(json.dumps(figures(found), indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures(found), indent=1) + "\n")


def _seeded(world: World, seed: int) -> World:
    return replace(world, training=world.training.model_copy(update={"seed": seed}))


if __name__ == "__main__":
    main()

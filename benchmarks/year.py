"""A year of monthly drops under six policies: which champion people would have had, month by month.

    python benchmarks/year.py [--months 3] [--json FILE] [--picture FILE] [--cache DIR]

Real tiny.en, real refresh, trainings, gate and records on a real S3 server, no Prefect. What was
done lies under the digest of its inputs in --cache: a stopped run goes on (SIGTERM stops it within
seconds, and the training under way saves its state). Up to three months: only the policies
default, cold_fixed and first, and 300 utterances each in test set and vault, which all judge. The
candidates of a month are made once, from the default's champion, and shared; only cold_fixed trains
its own, each for as many steps as January's took.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from benchmarks.real_world import real_world
from benchmarks.year_corpus import (
    MONTHS,
    TEST_UTTERANCES,
    Reading,
    drop,
    everyday,
    spoken,
    vault,
)
from benchmarks.year_life import Speech, live
from benchmarks.year_picture import draw
from benchmarks.year_pieces import World
from benchmarks.year_policies import POLICIES, SHORT
from benchmarks.year_verdict import figures, table, wer_by_month
from tests.fixtures.s3 import S3Server, running_s3
from whisper_retrain.config import CandidateKind, CandidatesConfig, TrainingConfig
from whisper_retrain.gate.policy import GatePolicy

VAULT, SHORT_VAULT, SHORT_TEST, SHORT_MONTHS = 1200, 300, 300, 3
EPOCHS = 4.0
"""60 steps in January: as many as the demo's first training takes."""
POLICY = GatePolicy(planned_looks=len(MONTHS))
"""Who retrains every month looks at the test set twelve times a year, not every week."""


def main() -> None:
    """Live through the year, print the table, write JSON and picture."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; run again to go on"))
    arguments = _arguments()
    cache: Path = arguments.cache.absolute()
    server_folder = cache / "s3"
    server_folder.mkdir(parents=True, exist_ok=True)
    with running_s3(server_folder, keep=True) as server:
        world = _world(arguments, cache, server)
        short = arguments.months <= SHORT_MONTHS
        policies = SHORT if short else tuple(POLICIES)
        speech = _speech(world, cache / "speech", short)
        year = live(world, speech, MONTHS[: arguments.months], policies)
        found = figures(world, speech, year)
        lines = wer_by_month(world, speech, year)
    print(table(year, lines))
    print(json.dumps(found, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.picture:
        arguments.picture.write_text(draw(year, lines))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--months", type=int, default=len(MONTHS), choices=range(1, 13))
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--picture", type=Path, help="write an SVG here")
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    kinds = get_args(CandidateKind)
    parser.add_argument("--candidates", nargs="+", choices=kinds, default=["cold", "merge"])
    parser.add_argument("--seeds", type=int, default=1, help="cold trainings a month")
    parser.add_argument("--cache", type=Path, default=Path(".local/cache/year"))
    return parser.parse_args()


def _world(arguments: argparse.Namespace, cache: Path, server: S3Server) -> World:
    training = TrainingConfig(
        epochs=arguments.epochs,
        batch_size=16,
        learning_rate=1e-4,
        eval_share=0.25,
        max_validation_utterances=60,
        validate_base=False,
    )
    candidates = CandidatesConfig(
        kinds=tuple(arguments.candidates), seeds=arguments.seeds, min_validation_words=0
    )
    return real_world(cache, server, training, candidates=candidates, policy=POLICY)


def _speech(world: World, folder: Path, short: bool) -> Speech:
    folder.mkdir(exist_ok=True)
    choosing, judging = vault(SHORT_VAULT if short else VAULT)
    if short:
        choosing, judging = (), choosing + judging
    heard = {"everyday": everyday(), "choosing": choosing, "judging": judging}
    sets = {
        name: world.test_set(spoken(folder, name, readings, world.say), name == "everyday")
        for name, readings in heard.items()
        if readings
    }
    utterances = SHORT_TEST if short else TEST_UTTERANCES

    def arrived(month: str) -> tuple[Path, Sequence[Reading]]:
        readings = drop(month, utterances)
        return spoken(folder, month.lower(), readings, world.say), readings

    return Speech(
        drop=arrived,
        general=sets["everyday"],
        judging=sets["judging"],
        choosing=sets.get("choosing"),
    )


if __name__ == "__main__":
    main()

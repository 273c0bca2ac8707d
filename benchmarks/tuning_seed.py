"""One seed of benchmarks/tuning.py, where the environment names S3, Hub and store.

python -m benchmarks.tuning_seed SEED BASE_REPO ANSWER.json
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.demo_seeds import dealt
from benchmarks.real_world import world_in
from benchmarks.year import VAULT
from benchmarks.year_corpus import Reading, arrive, spoken, vault
from benchmarks.year_pieces import Model, World
from benchmarks.year_verdict import against
from whisper_retrain.config import BaseModelConfig, DatasetConfig, ReleaseConfig, TrainingConfig
from whisper_retrain.data.refresh import refresh_dataset
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import DivergedError
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.local.demo.plan import DROPS
from whisper_retrain.records import DatasetRevision
from whisper_retrain.tuning.budget import TuningBudget
from whisper_retrain.tuning.halving import rung_settings
from whisper_retrain.tuning.objective import Scored, best_of
from whisper_retrain.tuning.proposal import Proposal, followed, latest_proposal
from whisper_retrain.tuning.space import RATE, Point, SearchSpace, settings_of

SPACE = SearchSpace(epochs=(0.5, 1.0, 2.0))
"""The default's rungs are four times as long, and a seed would take four hours."""
BUDGET = TuningBudget()
VALIDATION_SHARE = 0.38
"""Of the phrases that are left for training: a tuning wants 2,500 words."""


def main(seed: int, base_repo: str, answer: Path) -> None:
    """Tune, search at random, judge, write what was found."""
    cache = Path(os.environ["WHISPER_RETRAIN_CACHE_DIR"])
    training = TrainingConfig(
        seed=seed, eval_share=1.0, max_validation_utterances=100, validate_base=False
    )
    world = world_in(
        S3Store(os.environ["WHISPER_RETRAIN_STORE"]),
        cache,
        training,
        validation_share=VALIDATION_SHARE,
    )
    drops = [_drop(world, cache, number, seed) for number in DROPS]
    place = arrive(cache / f"recordings-{seed}", drops)
    proposal = proposed(world, world.config(place), base_repo)
    found = rivals(world, refresh_dataset(world.config(place), world.store), proposal)
    heard = world.test_set(
        spoken(cache / "speech", "vault", [one for half in vault(VAULT) for one in half], world.say)
    )
    models = found.pop("models")
    judged = {who: world.evaluation(model, heard) for who, model in models.items()}
    answer.write_text(json.dumps(found | verdict(world, judged), indent=1))


def _drop(world: World, cache: Path, number: int, seed: int) -> tuple[Path, Sequence[Reading]]:
    (cache / "speech").mkdir(exist_ok=True)
    readings = dealt(number, seed)
    return spoken(cache / "speech", f"demo-{seed}-{number}", readings, world.say), readings


def proposed(world: World, dataset: DatasetConfig, base_repo: str) -> Proposal:
    """What the flow `tune` comes to, on a Prefect server of its own."""
    from flows.tune import tune

    release = ReleaseConfig(repo=f"demo/tuned-{world.training.seed}")
    with prefect_server():
        state = tune(
            dataset,
            release,
            BaseModelConfig(repo=base_repo),
            world.training,
            world.decoding,
            world.policy,
            SPACE,
            BUDGET,
            return_state=True,
        )
    found = latest_proposal(world.store, release.repo)
    if not state.is_completed() or found is None:
        sys.exit(f"the tuning ended {state.name}: {state.message}")
    world.say("; ".join(found[1].sentences))
    return found[1]


@contextmanager
def prefect_server() -> Iterator[None]:
    """A server for as long as the context lasts; results of tasks are not kept, records are."""
    from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        tempfile.TemporaryDirectory() as folder,
        prefect_test_harness(server_startup_timeout=240),
        temporary_settings({PREFECT_LOCAL_STORAGE_PATH: Path(folder)}),
    ):
        yield


def rivals(world: World, dataset: DatasetRevision, proposal: Proposal) -> dict[str, Any]:
    """The proposal's model, found again, and those that it is held against."""
    first = proposal.tried[0]
    rate = first.learning_rate / first.point[RATE]
    as_now = longest(first.point, world.training, rate)
    tuned = followed(world.training, proposal) if proposal.settings else as_now
    chosen, points = random_choice(world, dataset, rate, proposal.spent_s)
    return {
        "models": {
            "as now": world.trained("as now", as_now, dataset),
            "proposed": world.trained("proposed", tuned, dataset),
            "random": chosen,
        },
        "trials": len(proposal.tried),
        "random_trials": points,
        "spent_s": proposal.spent_s,
        "settings": proposal.settings,
        "selected_wer": proposal.selected_wer,
        "confirmed_wer": proposal.confirmation.wer if proposal.confirmation else None,
        "sentences": proposal.sentences,
    }


def random_choice(
    world: World, dataset: DatasetRevision, rate: float, seconds: float
) -> tuple[Model, int]:
    """The best of as many random points as these compute-seconds pay for, and how many they are.

    Each trains for the longest rung; one more is begun while the mean of those before still fits.
    """
    rng, spent_s, tried = random.Random(world.training.seed), 0.0, 0
    scored: list[Scored] = []
    models: list[Model] = []
    while not tried or spent_s * (tried + 1) / tried <= seconds:
        point, began = random_point(rng), time.monotonic()
        config = longest(point, world.training, rate)
        tried += 1
        try:
            model = world.trained(f"random {tried}", config, dataset)
        except DivergedError:
            spent_s += time.monotonic() - began
            continue
        heard = world.evaluation(model, dataset, "validation")
        cost_s = model.seconds + heard.report.real_time_factor * heard.report.audio_s
        spent_s += cost_s
        scored.append(Scored(len(models), heard, cost_s))
        models.append(model)
    return models[best_of(scored, world.policy).number], tried


def longest(point: Point, training: TrainingConfig, rate: float) -> TrainingConfig:
    """The settings of a point on the last rung."""
    settings, last = settings_of(point, training, rate), len(SPACE.epochs) - 1
    return rung_settings(settings, SPACE.epochs, last, keep_trunk=False)


def random_point(rng: random.Random) -> Point:
    """Of the space, the rate on a logarithmic scale."""
    low, high = math.log(SPACE.lowest_rate), math.log(SPACE.highest_rate)
    return {
        RATE: math.exp(rng.uniform(low, high)),
        **{name: rng.choice(values) for name, values in SPACE.choices.items()},
    }


def verdict(world: World, judged: dict[str, Evaluation]) -> dict[str, Any]:
    """What the vault says."""
    return {
        "vault_wer": {who: one.report.words.error_rate for who, one in judged.items()},
        "vault_medical_wer": {who: one.report.medical.error_rate for who, one in judged.items()},
        "against": {
            rival: against(world, judged[rival], judged["proposed"])
            for rival in ("as now", "random")
        },
    }


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; run again to go on"))
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))

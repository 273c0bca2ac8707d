"""The months of benchmarks/year.py one after another, for all policies at once.

Two policies have a gate of their own, and so their own candidates and looks: `default` and
`cold_fixed`. All others choose among what the default's gate was asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.year_corpus import EVENTS, MONTHS, Reading
from benchmarks.year_pieces import Made, Model, World
from benchmarks.year_policies import BASE, POLICIES, Offer
from whisper_retrain.config import CandidatesConfig, TrainingConfig
from whisper_retrain.records import DatasetRevision

DEFAULT, FIXED, ORACLE, LOWER = "default", "cold_fixed", "oracle", "lower_wer"
UNBEATEN = "no candidate can make fewer errors than the champion, by the validation split"


@dataclass(frozen=True)
class Speech:
    """What arrives, and what models are judged by."""

    drop: Callable[[str], tuple[Path, Sequence[Reading]]]
    """Month -> the folder of its recordings, and what they are."""
    general: DatasetRevision
    """Everyday speech, for the guard."""
    judging: DatasetRevision
    """The part of the vault that all are judged on."""
    choosing: DatasetRevision | None
    """The oracle's; None where there is no oracle."""


@dataclass(frozen=True)
class Asked:
    """What a gate was asked in a month, and what it said."""

    offer: Offer
    """Candidates and answer."""
    reasons: tuple[str, ...]
    """Of the answer."""
    seconds: float
    """Spent on the candidates."""
    cold_s: float
    """Of one cold training."""


@dataclass(frozen=True)
class MonthEnd:
    """How a month ended."""

    month: str
    """Its name."""
    train_utterances: int
    """There are to train on."""
    champions: Mapping[str, str]
    """Policy -> name of its champion."""
    asked: Mapping[str, Asked] = field(default_factory=dict)
    """Policy with a gate -> what it was asked; empty where nothing was new."""


@dataclass(frozen=True)
class Year:
    """All months, and the models that they are about."""

    ends: tuple[MonthEnd, ...]
    """In order."""
    models: Mapping[str, Model]
    """By name."""


def live(world: World, speech: Speech, months: Sequence[str], policies: Sequence[str]) -> Year:
    """Live through these months; what was done before is found again."""
    models = {BASE: world.base_model}
    champions = dict.fromkeys(policies, BASE)
    drops: list[tuple[Path, Sequence[Reading]]] = []
    ends: list[MonthEnd] = []
    last: DatasetRevision | None = None
    trainings = {DEFAULT: world.training, FIXED: world.training}
    for month in months:
        drops.append(speech.drop(month))
        dataset = world.dataset(month, drops)
        asked: dict[str, Asked] = {}
        if not world.is_new(last, dataset):
            world.say(f"{month}: nothing new")
        else:
            last = dataset
            world.say(f"{month}: {EVENTS.get(month, 'new voices and sentences')}")
            for house in (name for name in (DEFAULT, FIXED) if name in policies):
                made = _made(world, house, month, dataset, models[champions[house]], trainings)
                models |= {one.name: one for one in made.models}
                asked[house] = _ask(world, speech, house, month, dataset, made, models, champions)
            champions = {
                name: POLICIES[name](before, asked.get(name, asked[DEFAULT]).offer)
                for name, before in champions.items()
            }
        ends.append(MonthEnd(month, dataset.splits["train"].utterances, champions, asked))
    return Year(tuple(ends), models)


def _made(
    world: World,
    house: str,
    month: str,
    dataset: DatasetRevision,
    champion: Model,
    trainings: dict[str, TrainingConfig],
) -> Made:
    """The candidates of a month. From its first training on, one house keeps to its length."""
    wanted = world.candidates if house == DEFAULT else CandidatesConfig(kinds=("cold",))
    prefix = f"{MONTHS.index(month) + 1:02d}-{house}"
    made = world.made(prefix, dataset, champion, trainings[house], wanted)
    run = next(one.run for one in made.models if one.run)
    if house == FIXED:
        fixed = {"epochs": None, "max_steps": trainings[house].max_steps or run.steps}
        trainings[house] = trainings[house].model_copy(update=fixed)
    return made


def _ask(
    world: World,
    speech: Speech,
    house: str,
    month: str,
    dataset: DatasetRevision,
    made: Made,
    models: Mapping[str, Model],
    champions: Mapping[str, str],
) -> Asked:
    """What the house's gate says of the best candidate, and what the other policies go by."""
    challenger, promoted, reasons = made.models[0], False, (UNBEATEN,)
    if made.beats_champion:
        champion = models[champions[house]]
        decision = world.decision(house, month, champion, challenger, dataset, speech.general)
        promoted, reasons = decision.outcome == "promote", decision.reasons
        world.say(f"  {house}: {decision.outcome}")
    names = tuple(one.name for one in made.models)
    test_wer, choice_wer = {}, {}
    if house == DEFAULT and LOWER in champions:
        for name in (champions[LOWER], challenger.name):
            found = world.tested(models[name], dataset)
            test_wer[name] = found.report.words.error_rate
    if house == DEFAULT and ORACLE in champions and speech.choosing:
        for name in (champions[ORACLE], *names):
            found = world.evaluation(models[name], speech.choosing)
            choice_wer[name] = found.report.words.error_rate
    return Asked(
        offer=Offer(challenger.name, names, promoted, test_wer, choice_wer),
        reasons=reasons,
        seconds=sum(one.seconds for one in made.models),
        cold_s=made.cold_s,
    )

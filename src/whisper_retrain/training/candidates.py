"""Which models one retraining makes, and which of them is to be the challenger; pure.

All are compared on the validation split. The test set sees the winner alone, so that several
candidates cost one look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from whisper_retrain.config import CandidateKind, CandidatesConfig, TrainingConfig
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.measures import compare_measure
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.records import Interval, Record

BASE, CHAMPION = "base", "champion"
"""Parts of a merge that were there before."""
BASE_SHARES = (0.25, 0.5, 0.75)
"""Of the base model, in merges with a cold training."""
TIE_ALPHA = 0.05
"""One-sided: two candidates are told apart where the 90 % interval of their difference is."""
COST_DIGITS = 1
"""To which costs are compared: a clock is no more exact."""


class Candidate(Record):
    """One model that is to be made."""

    name: str
    """What it is called in the table and the UI."""
    kind: CandidateKind
    """How it is made."""
    config: TrainingConfig | None = None
    """Of its training; None for a merge."""
    parts: dict[str, float] = Field(default_factory=dict)
    """Of a merge: candidate, `champion` or `base` -> its share; the shares add up to 1."""

    @property
    def first(self) -> str:
        """Of a merge's parts the first, which is a candidate."""
        return next(iter(self.parts))


def planned_candidates(
    wanted: CandidatesConfig,
    training: TrainingConfig,
    *,
    validation_words: int,
    has_champion: bool,
    same_base: bool,
) -> tuple[Candidate, ...]:
    """What is made, trainings first; only the first kind where validation could not choose.

    Without a champion nothing can be warm, and the first candidate is cold. `same_base`: whether
    the champion, too, was made from this base model; weights of other origin have no average.
    """
    kinds = [kind for kind in wanted.kinds if has_champion or kind != "warm"] or ["cold"]
    trained = [_training(kind, training) for kind in kinds if not kind.startswith("merge")]
    trained = trained or [_training("cold", training)]
    if validation_words < wanted.min_validation_words:
        return (trained[0],)
    cold = [one for one in trained if one.kind == "cold"]
    more = [_training("cold", training, n) for n in range(2, wanted.seeds + 1)] if cold else []
    cold += more
    seeds = [_mean("merge-seeds", *(one.name for one in cold))] if len(cold) > 1 else []
    merges = _merges(trained, has_champion and same_base) if "merge" in kinds else []
    with_base = _merges_with_base() if "merge-base" in kinds and cold else []
    return (*trained, *more, *seeds, *merges, *with_base)


def _training(kind: CandidateKind, training: TrainingConfig, number: int = 1) -> Candidate:
    if kind == "warm":
        # What it starts from is no base model that could be mixed in.
        return Candidate(
            name="warm", kind="warm", config=training.model_copy(update={"base_share": 0.0})
        )
    seed = training.seed + number - 1
    name = "cold" if number == 1 else f"cold-seed-{seed}"
    return Candidate(name=name, kind="cold", config=training.model_copy(update={"seed": seed}))


def _merges(trained: list[Candidate], with_champion: bool) -> list[Candidate]:
    names = [one.name for one in trained]
    found = [_mean(f"merge-{'-'.join(names)}", *names)] if len(names) > 1 else []
    if with_champion and "cold" in names:
        found.append(_mean("merge-champion-cold", "cold", CHAMPION))
    return found


def _merges_with_base() -> list[Candidate]:
    return [
        Candidate(
            name=f"merge-base-{100 * share:.0f}",
            kind="merge",
            parts={"cold": 1 - share, BASE: share},
        )
        for share in BASE_SHARES
    ]


def _mean(name: str, *parts: str) -> Candidate:
    return Candidate(name=name, kind="merge", parts=dict.fromkeys(parts, 1 / len(parts)))


@dataclass(frozen=True)
class Entry:
    """A candidate that was made."""

    candidate: Candidate
    """What it is."""
    validation: Evaluation
    """What it makes of the validation split."""
    seconds: float
    """Of its training, or of those that went into it, and of its validation."""


class Compared(Record):
    """How one candidate compares, for people to read."""

    name: str
    """Of the candidate."""
    wer: float
    """On the validation split, normalised, a fraction."""
    medical_wer: float
    """The same of medical terms."""
    change: float | None
    """In WER against the champion, a fraction; None without one."""
    interval: Interval | None
    """Of the change, paired."""
    cost: float
    """Seconds relative to one cold training with its validation."""


class Choice(Record):
    """Which candidate goes to the gate."""

    compared: tuple[Compared, ...]
    """Every candidate, the lowest WER first."""
    winner: str | None
    """None: surely no candidate makes fewer errors than the champion."""
    reason: str
    """A sentence for people."""


def choose(entries: Mapping[str, Entry], champion: Evaluation | None, policy: GatePolicy) -> Choice:
    """The best on validation; of those not told apart from it the cheapest, then by medical WER."""
    cold = next((e for e in entries.values() if e.candidate.kind == "cold"), None)
    unit_s = (cold or next(iter(entries.values()))).seconds or 1.0
    compared = {
        name: _compared(entry, champion, policy, entry.seconds / unit_s)
        for name, entry in entries.items()
    }
    ranked = tuple(sorted(compared.values(), key=lambda one: (one.wer, one.cost)))
    # A small split tells few models apart: only what surely isn't better is kept from the gate.
    hopeful = [one for one in ranked if one.interval is None or one.interval.low < 0]
    if not hopeful:
        reason = "no candidate can make fewer errors than the champion, by the validation split"
        return Choice(compared=ranked, winner=None, reason=reason)
    best = hopeful[0]
    equal = [
        one
        for one in hopeful
        if one is best or tied(entries[best.name].validation, entries[one.name].validation, policy)
    ]
    won = min(equal, key=lambda one: (round(one.cost, COST_DIGITS), one.medical_wer, one.wer))
    reason = f"{won.name}: WER {won.wer:.2%} on the validation split"
    if won is not best:
        reason += f", not told apart from {best.name} ({best.wer:.2%}) and preferred for its cost"
        reason += " or its medical WER"
    return Choice(compared=ranked, winner=won.name, reason=reason)


def _compared(
    entry: Entry, champion: Evaluation | None, policy: GatePolicy, cost: float
) -> Compared:
    report, found = entry.validation.report, None
    if champion is not None:
        found = compare_measure(champion, entry.validation, "words", alpha=TIE_ALPHA, policy=policy)
    return Compared(
        name=entry.candidate.name,
        wer=report.words.error_rate,
        medical_wer=report.medical.error_rate,
        change=found.difference if found else None,
        interval=found.interval if found else None,
        cost=round(cost, 2),
    )


def tied(best: Evaluation, other: Evaluation, policy: GatePolicy) -> bool:
    """Whether the best cannot be told to make fewer errors than the other."""
    found = compare_measure(other, best, "words", alpha=TIE_ALPHA, policy=policy)
    return found.interval.high >= 0

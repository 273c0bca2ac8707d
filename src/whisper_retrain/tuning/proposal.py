"""What a tuning comes to: a proposal that a person accepts, and that retrainings then follow.

`tune/latest/<repo>.json` points to the newest proposal for a release repo, and
`tune/accepted/latest/<repo>.json` to the one that was accepted; both are swapped.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from whisper_retrain.config import TrainingConfig
from whisper_retrain.edges.store import ObjectStore, read_record, swap_record, write_record
from whisper_retrain.errors import InputError
from whisper_retrain.records import Interval, Record
from whisper_retrain.tuning.space import Value

_LATEST, _ACCEPTED = "tune/latest/", "tune/accepted/latest/"
Setting = Value | str | None


class Tried(Record):
    """A trial, for people to read."""

    number: int
    """Of the trial; 0: the settings as they are."""
    origin: str
    """Who chose the point."""
    point: dict[str, Value]
    """Dimension of the space -> value."""
    learning_rate: float
    """The peak."""
    wers: tuple[float, ...]
    """On the validation split, by rung, fractions; as many as it took part in."""
    medical_wer: float | None
    """On its last rung; None where it diverged."""
    cost_s: float
    """Of all its rungs."""
    diverged: bool = False
    """Whether its loss was no number any more."""


class Confirmation(Record):
    """The winner once more with another seed: what was chosen as the lowest flatters itself."""

    seed: int
    """Of the other training."""
    wer: float
    """On the validation split, a fraction."""
    medical_wer: float
    """Of medical terms."""

    def curse(self, selected: float) -> float:
        """How much better the winner looked when it was chosen, in WER."""
        return self.wer - selected


class Proposal(Record):
    """Settings that did best, with all that was tried."""

    tuning: str
    """Digest of the TuningJob."""
    release_repo: str
    """Whose retrainings it is meant for."""
    base_repo: str
    """Hub repo of the base model: with another one the settings mean nothing."""
    dataset_digest: str
    """Of the DatasetRevision."""
    epochs: tuple[float, ...]
    """Of the rungs."""
    settings: dict[str, Setting]
    """Fields of TrainingConfig that were tuned; none: the settings as they are did best."""
    winner: int | None
    """Number of the trial; None: all of them diverged."""
    selected_wer: float | None
    """Of the winner when it was chosen, a fraction."""
    confirmation: Confirmation | None
    """Of the winner; None where the budget had no room for it."""
    change: float | None
    """In WER of the winner against the settings as they are, on the last rung that had both."""
    interval: Interval | None
    """Of the change, paired."""
    tried: tuple[Tried, ...]
    """All trials by number."""
    budget_s: float
    """What might be spent."""
    predicted_s: float
    """What was predicted after the first trial."""
    spent_s: float
    """What was spent."""
    sentences: tuple[str, ...]
    """What it says, for people."""
    at: datetime
    """When it was made, UTC."""


class Accepted(Record):
    """Which proposal retrainings of a release repo follow; none: their own settings."""

    proposal: str | None
    """Key of it in S3."""
    at: datetime
    """When somebody said so, UTC."""


def keep_proposal(store: ObjectStore, prefix: str, proposal: Proposal) -> str:
    """Store a proposal below its tuning's prefix and make it the newest; its key."""
    key = f"{prefix}/proposals/{proposal.digest}.json"
    write_record(store, key, proposal)
    _point(store, f"{_LATEST}{proposal.release_repo}.json", Accepted(proposal=key, at=proposal.at))
    return key


def latest_proposal(store: ObjectStore, release_repo: str) -> tuple[str, Proposal] | None:
    """The newest proposal for a release repo, with its key."""
    return _pointed_to(store, f"{_LATEST}{release_repo}.json")


def accepted_proposal(store: ObjectStore, release_repo: str) -> Proposal | None:
    """The proposal that retrainings of a release repo follow."""
    found = _pointed_to(store, f"{_ACCEPTED}{release_repo}.json")
    return found[1] if found else None


def accept(store: ObjectStore, release_repo: str, digest: str | None, at: datetime) -> Proposal:
    """Let retrainings follow the newest proposal, which may be named by (the start of) its digest.

    InputError when there is none, when a newer one has come than the one that was named, or when
    it changes nothing.
    """
    found = latest_proposal(store, release_repo)
    if found is None:
        raise InputError(
            "there is no proposal to accept",
            where=release_repo,
            remedy="run the deployment tune/manual for this release repo first",
        )
    key, proposal = found
    if digest and not proposal.digest.startswith(digest):
        raise InputError(
            "the newest proposal is another one",
            where=release_repo,
            expected=digest,
            got=proposal.digest,
            remedy="read the newest one, and accept it by its digest",
        )
    if not proposal.settings:
        raise InputError(
            "the proposal changes nothing",
            where=release_repo,
            got="; ".join(proposal.sentences),
            remedy="keep the settings as they are",
        )
    _point(store, f"{_ACCEPTED}{release_repo}.json", Accepted(proposal=key, at=at))
    return proposal


def withdraw(store: ObjectStore, release_repo: str, at: datetime) -> None:
    """Let retrainings follow their own settings again."""
    _point(store, f"{_ACCEPTED}{release_repo}.json", Accepted(proposal=None, at=at))


def followed(training: TrainingConfig, proposal: Proposal) -> TrainingConfig:
    """A retraining's settings with those of a proposal in their place."""
    changed: dict[str, Any] = training.model_dump() | proposal.settings
    return TrainingConfig(**changed)


def _pointed_to(store: ObjectStore, key: str) -> tuple[str, Proposal] | None:
    pointer = read_record(store, key, Accepted)
    if pointer is None or pointer.proposal is None:
        return None
    proposal = read_record(store, pointer.proposal, Proposal)
    return (pointer.proposal, proposal) if proposal else None


def _point(store: ObjectStore, key: str, pointer: Accepted) -> None:
    swap_record(store, key, pointer, "let one tuning for a release repo run at a time")

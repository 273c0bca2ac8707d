"""What was retrained and decided before: the closing record of each retraining.

Knows nothing of how the stages work. `retrain/v1/<request digest>/record.json` is written once,
last; `retrain/latest/<repo>.json` (`<repo>@<tag>.json` for another tag than
`champion`) points to the newest one and is the only object that changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from whisper_retrain.config import DatasetConfig, ReleaseConfig
from whisper_retrain.data.refresh import enough_new
from whisper_retrain.edges.store import ObjectStore, read_record, swap_record, write_record
from whisper_retrain.records import Artifact, DatasetRevision, Promotion, Record
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.release.transaction import promoted

_PREFIX = "retrain/v1/"
_LATEST = "retrain/latest/"


class RetrainingRequest(Record):
    """All that a retraining depends on; equal requests give equal results."""

    dataset_digest: str
    """Of the DatasetRevision."""
    base_repo: str
    """Of the base model, on the Hub."""
    base_revision: str
    """Its commit, 40 hex digits."""
    training_digest: str
    """Of the TrainingConfig."""
    decoding_digest: str
    """Of the DecodingConfig."""
    policy_digest: str
    """Of the GatePolicy."""
    release_repo: str
    """Where the champion is published."""
    general_speech: str | None = None
    """Digest of the source of general speech; None: none."""
    champion_tag: str = "champion"
    """The tag in that repo."""
    candidates: str | None = None
    """Digest of the CandidatesConfig; None: one cold training."""

    added: ClassVar[frozenset[str]] = frozenset({"champion_tag", "candidates"})

    @property
    def release(self) -> ReleaseConfig:
        """The place of the release: its repo and champion tag."""
        return ReleaseConfig(repo=self.release_repo, champion_tag=self.champion_tag)


class Retraining(Record):
    """A finished retraining, whatever was decided."""

    request: RetrainingRequest
    """What it was made from."""
    evidence: Evidence
    """The decision with what it rests on."""
    promotion: Promotion | None
    """None where the champion stayed."""
    report: Artifact
    """The HTML report."""
    at: datetime
    """When it was closed, UTC."""


class Pointer(Record):
    """Where the newest record of a release repo lies."""

    key: str
    """In S3."""


def latest_retraining(store: ObjectStore, release: ReleaseConfig) -> Retraining | None:
    """The newest finished retraining for a release repo and its champion tag."""
    return _pointed_to(store, _pointer_key(release))


def retrained_last(store: ObjectStore) -> Retraining | None:
    """The newest finished retraining for any release repo."""
    found = [_pointed_to(store, key) for key in list(store.keys(_LATEST))]
    return max(filter(None, found), key=lambda one: one.at, default=None)


def finished_retrainings(store: ObjectStore, release: ReleaseConfig) -> list[Retraining]:
    """All retrainings for a release repo and its champion tag, the newest first."""
    keys = [key for key in store.keys(_PREFIX) if key.endswith("/record.json")]
    records = [read_record(store, key, Retraining) for key in keys]
    place = release.repo, release.champion_tag
    ours = [
        one
        for one in records
        if one is not None and (one.request.release_repo, one.request.champion_tag) == place
    ]
    return sorted(ours, key=lambda one: one.at, reverse=True)


def evidence_of_model(finished: Iterable[Retraining], model_digest: str) -> Evidence | None:
    """What the promotion of this model rested on, if it was promoted in one of these."""
    promotions = (one.evidence for one in finished if one.promotion)
    wanted = (one for one in promotions if one.run.checkpoint.model_digest == model_digest)
    return next(wanted, None)


def keep_evidence(store: ObjectStore, request: RetrainingRequest, evidence: Evidence) -> None:
    """Store what a promotion will rest on, before it begins."""
    write_record(store, f"{_prefix(request)}evidence/{evidence.decision.digest}.json", evidence)


def promoted_evidence(store: ObjectStore, request: RetrainingRequest) -> Evidence | None:
    """The evidence of an equal request whose promotion is finished, or None."""
    for key in store.keys(f"{_prefix(request)}evidence/"):
        evidence = read_record(store, key, Evidence)
        if evidence and promoted(store, request.release, evidence.decision.digest):
            return evidence
    return None


def close_retraining(store: ObjectStore, retraining: Retraining) -> Retraining:
    """Write the record, then move the pointer; a rerun finds the first record and keeps it."""
    key = f"{_prefix(retraining.request)}record.json"
    stored = read_record(store, key, Retraining)
    if stored is None:
        write_record(store, key, retraining)
    swap_record(
        store,
        _pointer_key(retraining.request.release),
        Pointer(key=key),
        "two retrainings for one release repo run at once: give the deployment a limit",
    )
    return stored or retraining


def nothing_new(
    last: Retraining | None,
    request: RetrainingRequest,
    revision: DatasetRevision,
    config: DatasetConfig,
) -> str | None:
    """Why a retraining would be pointless, or None when it would not."""
    if last is None:
        return None
    if last.request == request:
        return f"nothing has changed since {last.at:%Y-%m-%d %H:%M} UTC"
    same_settings = last.request.model_copy(update={"dataset_digest": request.dataset_digest})
    if same_settings == request and not enough_new(last.evidence.dataset, revision, config):
        return (
            f"too little new speech: fewer than {config.min_new_utterances} utterances "
            f"and {config.min_new_hours} h since {last.at:%Y-%m-%d %H:%M} UTC"
        )
    return None


def _prefix(request: RetrainingRequest) -> str:
    return f"{_PREFIX}{request.digest}/"


def _pointer_key(release: ReleaseConfig) -> str:
    usual = release.champion_tag == RetrainingRequest.model_fields["champion_tag"].default
    return f"{_LATEST}{release.repo}{'' if usual else f'@{release.champion_tag}'}.json"


def _pointed_to(store: ObjectStore, key: str) -> Retraining | None:
    pointer = read_record(store, key, Pointer)
    return read_record(store, pointer.key, Retraining) if pointer else None

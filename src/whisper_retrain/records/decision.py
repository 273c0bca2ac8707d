"""What the gate said, and what was done about it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from whisper_retrain.records.base import Record
from whisper_retrain.records.evaluation import Interval

Outcome = Literal["promote", "reject", "inconclusive"]


class RuleOutcome(Record):
    """One rule of the policy, as applied."""

    rule: str
    outcome: Literal["pass", "fail", "inconclusive", "info"]
    figure: float | None
    bound: float | None
    interval: Interval | None = None
    probability: float | None = None
    utterances: tuple[str, ...] = ()
    reason: str


class Decision(Record):
    """What the gate says, and why."""

    outcome: Outcome
    champion_report: str
    challenger_report: str
    test_set_digest: str
    policy_digest: str
    rules: tuple[RuleOutcome, ...]
    reasons: tuple[str, ...]
    first_champion: bool = False
    looks: int = 0


class Promotion(Record):
    """The champion tag moved, by a promotion or a rollback."""

    kind: Literal["promotion", "rollback"]
    repo: str
    revision: str
    parent_revision: str | None
    tags: tuple[str, ...]
    decision_digest: str | None
    model_digest: str
    at: datetime
    previous_revision: str | None = None
    wer: float | None = None
    wer_interval: Interval | None = None
    test_set_digest: str | None = None

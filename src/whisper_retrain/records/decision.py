"""What the gate said, and what was done about it."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from whisper_retrain.records.base import Record
from whisper_retrain.records.evaluation import Interval

Outcome = Literal["promote", "reject", "inconclusive"]
RuleVerdict = Literal["pass", "fail", "inconclusive", "info"]
"""What one rule says; `info` decides nothing."""


class RuleOutcome(Record):
    """One rule of the policy, as applied."""

    rule: str
    """Name of the rule, as in docs/gate.md."""
    outcome: RuleVerdict
    """`info` decides nothing."""
    figure: float | None
    """What was measured, in the rule's own unit; rates and differences are fractions."""
    bound: float | None
    """What the figure is held against; None where nothing is."""
    interval: Interval | None = None
    """Of the figure."""
    probability: float | None = None
    """Of the rule's test: see its reason for of what."""
    utterances: tuple[str, ...] = ()
    """Ids of the utterances that it is about."""
    reason: str
    """A sentence for people, with the figures."""


class Decision(Record):
    """What the gate says, and why."""

    outcome: Outcome
    """Promote, reject, or neither."""
    champion_report: str
    """Digest of its EvaluationReport."""
    challenger_report: str
    """Digest of its EvaluationReport."""
    test_set_digest: str
    """Of the test set that both were evaluated on."""
    policy_digest: str
    """Of the GatePolicy."""
    rules: tuple[RuleOutcome, ...]
    """Every rule, as applied."""
    reasons: tuple[str, ...]
    """What decided, a sentence each."""
    first_champion: bool = False
    """Whether the comparison was with the base model."""
    looks: int = 0
    """Earlier looks at the test set within a year."""
    share: float | None = None
    """Of the year's alpha for this look; None: as for a test set that never changed."""
    charged: int | None = None
    """Earlier looks within a year that found the challenger better; None: all of them."""

    plain: tuple[str, ...] = ()
    """What decided and what would change it, in plain words; of an earlier version: nothing."""

    added: ClassVar[frozenset[str]] = frozenset({"share", "charged", "plain"})


class Promotion(Record):
    """The champion tag moved, by a promotion or a rollback."""

    kind: Literal["promotion", "rollback"]
    """Which of the two moved the tag."""
    repo: str
    """On the Hub, namespace/name."""
    revision: str
    """The champion from now on, 40 hex digits."""
    parent_revision: str | None
    """The commit before it in the repo."""
    tags: tuple[str, ...]
    """Those that were moved; the champion's tag is the last."""
    decision_digest: str | None
    """Of the Decision; None for a rollback."""
    model_digest: str
    """Of the champion's files."""
    at: datetime
    """When, UTC."""
    previous_revision: str | None = None
    """The champion until now; None for the first."""
    wer: float | None = None
    """Normalised, of the champion on the test set, a fraction."""
    wer_interval: Interval | None = None
    """Its interval."""
    test_set_digest: str | None = None
    """Of that test set."""

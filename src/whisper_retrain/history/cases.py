"""Past decisions with all that went into them, and what they would be today; no model is run.

Knows S3 only by the few calls it needs. A case is stored under the digest of its decision; the
rows are not copied, they lie where the evaluation left them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol

from pydantic import field_validator

from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.decision import decide
from whisper_retrain.gate.ledger import Standing
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.records import Decision, EvaluationReport, Pair, Record

CASES = "gate/cases/v1/"


class CaseStore(Protocol):
    """What the archive needs of S3."""

    def keys(self, prefix: str) -> Iterator[str]: ...
    def read(self, key: str) -> bytes: ...
    def write(self, key: str, data: bytes, content_type: str = ...) -> Any: ...


class Case(Record):
    """One decision and what it was made from."""

    at: datetime
    """When it was decided, UTC."""
    champion: EvaluationReport
    """Its report."""
    challenger: EvaluationReport
    """Its report."""
    guard: Pair[EvaluationReport] | None = None
    """Of general speech, where there was such a test set."""
    policy: GatePolicy
    """The rules' bounds then."""
    decision: Decision
    """As it came out then."""
    language: str = "en"
    """Of the transcripts, as Whisper names it."""

    added: ClassVar[frozenset[str]] = frozenset({"language"})

    @field_validator("guard", mode="before")
    @classmethod
    def _as_stored_before(cls, value: Any) -> Any:
        """An earlier version stored champion and challenger as a list of two."""
        if isinstance(value, list | tuple):
            return dict(zip(("champion", "challenger"), value, strict=True))
        return value


@dataclass(frozen=True)
class Replayed:
    """A case and the decision as it comes out now."""

    case: Case
    """As it was kept."""
    decision: Decision
    """As it comes out now."""

    @property
    def identical(self) -> bool:
        """Whether every figure, bound and reason came out as before."""
        return self.decision == self.case.decision

    @property
    def changed(self) -> bool:
        """Whether the outcome is another one."""
        return self.decision.outcome != self.case.decision.outcome


def save_case(store: CaseStore, case: Case) -> str:
    """Store a case; returns its key. The same decision has the same key."""
    key = f"{CASES}{case.decision.digest}.json"
    store.write(key, case.model_dump_json(indent=1).encode(), "application/json")
    return key


def load_cases(store: CaseStore) -> list[Case]:
    """All cases, oldest first."""
    found = [Case.model_validate_json(store.read(key)) for key in store.keys(CASES)]
    return sorted(found, key=lambda case: case.at)


def replay(
    case: Case, load: Callable[[EvaluationReport], Evaluation], policy: GatePolicy | None = None
) -> Replayed:
    """Decide again from the stored rows, under the policy of then or another one.

    `load` gives a report's rows (`evaluation.jobs.load_evaluation`).
    """
    then, guard = case.decision, case.guard.map(load) if case.guard else None
    decision = decide(
        load(case.champion),
        load(case.challenger),
        policy or case.policy,
        looks=Standing(looks=then.looks, share=then.share, charged=then.charged),
        first_champion=case.decision.first_champion,
        guard=guard,
        language=case.language,
    )
    return Replayed(case, decision)

"""What a decision rests on and is too large for the evidence itself: rows, and differences."""

from __future__ import annotations

from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.jobs import load_evaluation
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.decision import Differences
from whisper_retrain.release.evidence import MEASURE_AGAIN, Evidence


def evaluations_of(store: ObjectStore, evidence: Evidence) -> dict[str, Evaluation]:
    """Role -> report with its rows, the challenger first; rows that were edited are refused."""
    return {role: load_evaluation(store, report) for role, report in evidence.compared.items()}


def differences_of(store: ObjectStore, evidence: Evidence) -> Differences:
    """Slices and terms as the gate measured them."""
    if evidence.differences is None:
        raise InputError(
            "this evidence was stored by an earlier version, without slices and terms",
            where=f"decision {evidence.decision.digest}",
            remedy=MEASURE_AGAIN,
        )
    return Differences.model_validate_json(store.read(store.key(evidence.differences.uri)))

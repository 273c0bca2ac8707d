"""Figures with intervals, from the stored rows of the reports that a decision rests on.

The same rows always give the same intervals, to the last digit. Knows nothing of models.
"""

from __future__ import annotations

from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.evaluation.jobs import load_evaluation
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.measures import measure_interval
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.release.scores import METRIC_NAMES, ModelScores, scores_of


def evaluations_of(store: ObjectStore, evidence: Evidence) -> dict[str, Evaluation]:
    """Role -> report with its rows, the challenger first; rows that were edited are refused."""
    return {role: load_evaluation(store, report) for role, report in evidence.compared.items()}


def measured(evaluations: dict[str, Evaluation]) -> dict[str, ModelScores]:
    """Role -> figures with 95 % block bootstrap intervals."""
    return {
        role: scores_of(
            role,
            evaluation.report,
            {
                metric: measure_interval(evaluation, metric)
                for metric in METRIC_NAMES
                if getattr(evaluation.report, metric).reference_length
            },
        )
        for role, evaluation in evaluations.items()
    }

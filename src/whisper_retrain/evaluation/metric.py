"""The project's scores as metrics of Hugging Face `evaluate`, loaded by path and offline:

    evaluate.load(metric_path("medical_wer")).compute(predictions=[...], references=[...])

`evaluate` copies a module's file to its cache and runs it there, so that the modules in `metrics/`
only name what is defined here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import datasets
import evaluate

from whisper_retrain.evaluation.scoring import Score, score_pairs
from whisper_retrain.normalizer import NORMALIZER_VERSION
from whisper_retrain.records import Counts, total

METRICS = ("raw_wer", "wer", "cer", "medical_wer")


def metric_path(name: str) -> str:
    """Where the metric module of this name (one of METRICS) lies."""
    return str(Path(__file__).parent / "metrics" / f"{name}.py")


class CorpusMetric(ABC):
    """A rate over a corpus of texts; compute() gives it with its counts.

    No `evaluate.Metric` itself, or `evaluate` would take this one for the module's own.
    """

    name: str

    @abstractmethod
    def counts(self, score: Score) -> Counts:
        """The counts of one utterance that the rate is made of."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=f"{type(self).__name__} over a corpus, a fraction that may exceed 1",
            citation="Morris, Maier & Green 2004: (S + D + I) / N, jiwer's alignment",
            inputs_description=f"Texts as written; normalised here by {NORMALIZER_VERSION}.",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, Any]:
        found = total(self.counts(score) for score in score_pairs(references, predictions))
        rate = found.error_rate if found.reference_length else None
        return {self.name: rate, **found.model_dump()}

"""The project's scores as metrics of Hugging Face `evaluate`, loaded by path and offline:

    evaluate.load(metric_path("medical_wer")).compute(predictions=[...], references=[...])

`evaluate` copies a module's file to its cache and runs it there, so that the modules in `metrics/`
only name what is defined here.
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# A module is a file of this machine: nothing is looked up, or counted, anywhere else.
os.environ.setdefault("HF_EVALUATE_OFFLINE", "1")

import datasets
import evaluate

from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.scoring import UtteranceCounts, score_pairs
from whisper_retrain.normalizer import NORMALIZER_VERSION
from whisper_retrain.records import Counts, total

METRICS = ("raw_wer", "wer", "cer", "medical_wer")


def metric_path(name: str) -> str:
    """Where the metric module of this name (one of METRICS) lies."""
    return str(Path(__file__).parent / "metrics" / f"{name}.py")


def compute_metric(
    module: Path, references: Sequence[str], hypotheses: Sequence[str]
) -> dict[str, Any]:
    """What a metric module makes of texts as they were written: figure name -> value.

    `module` is the file of any module of `evaluate` that takes texts: one of ours or one's own.
    Raises InputError when there is no such file, or it doesn't load or compute.
    """
    if not module.is_file():
        raise InputError(
            "no such metric module",
            where=str(module),
            expected="a Python file with a subclass of evaluate.Metric",
            remedy=f"see {metric_path('wer')} for one",
        )
    try:
        with tempfile.TemporaryDirectory(prefix="metric-") as folder:
            metric = evaluate.load(str(module.absolute()), cache_dir=folder)
            found = metric.compute(predictions=list(hypotheses), references=list(references))
    except Exception as error:
        raise InputError(
            "the metric module does not work on texts",
            where=str(module),
            got=f"{type(error).__name__}: {error}",
            remedy="its features must be predictions and references of type string",
        ) from error
    return dict(found or {})


class CorpusMetric(ABC):
    """A rate over a corpus of texts; compute() gives it with its counts.

    No `evaluate.Metric` itself, or `evaluate` would take this one for the module's own.
    """

    name: str

    @abstractmethod
    def counts(self, utterance: UtteranceCounts) -> Counts:
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

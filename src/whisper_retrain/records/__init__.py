"""The values that pass along the chain; each holds the digest of the one before.

Knows nothing of storage, models or Prefect. A record is small, frozen and validated; what is
large stays in S3 behind an `Artifact`.
"""

from whisper_retrain.records.base import (
    Artifact,
    Job,
    Pair,
    Record,
    canonical_json,
    digest_of,
)
from whisper_retrain.records.dataset import (
    DatasetRevision,
    SourceRevision,
    Split,
    SplitState,
    SplitSummary,
)
from whisper_retrain.records.decision import (
    Decision,
    Outcome,
    Promotion,
    RuleOutcome,
    RuleVerdict,
)
from whisper_retrain.records.evaluation import (
    Counts,
    Dictation,
    EvaluationReport,
    Interval,
    MadeUp,
    Metric,
    ModelScores,
    ProbeResult,
    Score,
    total,
)
from whisper_retrain.records.training import (
    Checkpoint,
    CurvePoint,
    MergedModel,
    ModelRef,
    TrainingRun,
)

__all__ = [
    "Artifact",
    "Checkpoint",
    "Counts",
    "CurvePoint",
    "DatasetRevision",
    "Decision",
    "Dictation",
    "EvaluationReport",
    "Interval",
    "Job",
    "MadeUp",
    "MergedModel",
    "Metric",
    "ModelRef",
    "ModelScores",
    "Outcome",
    "Pair",
    "ProbeResult",
    "Promotion",
    "Record",
    "RuleOutcome",
    "RuleVerdict",
    "Score",
    "SourceRevision",
    "Split",
    "SplitState",
    "SplitSummary",
    "TrainingRun",
    "canonical_json",
    "digest_of",
    "total",
]

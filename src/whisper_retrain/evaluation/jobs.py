"""What an evaluation is called, and whether it has been made: the cheap half of evaluating.

Knows nothing of models or audio. Two prefixes in S3: `transcribe/v1/<digest>/` holds the texts
and depends on model, test set, decoding and the libraries that decode; `evaluate/v1/<digest>/`
holds rows and record and depends on the normalizer and the lexicon too. So a new normalizer
scores old texts, and a model that was evaluated before, under whatever name, is never loaded.
"""

from __future__ import annotations

from importlib.metadata import version

from whisper_retrain.config import DecodingConfig
from whisper_retrain.edges.store import ObjectStore, read_record
from whisper_retrain.errors import IntegrityError
from whisper_retrain.evaluation.lexicon import Lexicon, default_lexicon
from whisper_retrain.evaluation.rows import Evaluation, rows_digest, rows_from_parquet
from whisper_retrain.normalizer import NORMALIZER_VERSION
from whisper_retrain.records import (
    DatasetRevision,
    EvaluationReport,
    ModelRef,
    Record,
    digest_of,
)

TRANSCRIBE_VERSION = "v1"
EVALUATE_VERSION = "v1"


class EvaluationJob(Record):
    """What is to be evaluated, and all that the result depends on."""

    model: ModelRef
    test_set_digest: str
    decoding: DecodingConfig
    normalizer_version: str
    lexicon_version: str
    libraries: dict[str, str]
    probed: bool = True

    @property
    def transcription_digest(self) -> str:
        """What the texts depend on; the model's name and place are not among it."""
        return digest_of(
            {
                "model": self.model.model_digest,
                "test_set": self.test_set_digest,
                "decoding": self.decoding.digest,
                "libraries": self.libraries,
            }
        )

    @property
    def key_digest(self) -> str:
        """What the report depends on."""
        scoring = [self.normalizer_version, self.lexicon_version, self.probed]
        return digest_of([self.transcription_digest, *scoring])

    @property
    def prefix(self) -> str:
        """Where report and rows lie."""
        return f"evaluate/{EVALUATE_VERSION}/{self.key_digest}/"

    @property
    def transcripts(self) -> str:
        """Where the texts lie."""
        return f"transcribe/{TRANSCRIBE_VERSION}/{self.transcription_digest}/"


def plan_evaluation(
    model: ModelRef,
    test_set: DatasetRevision | str,
    decoding: DecodingConfig,
    lexicon: Lexicon | None = None,
    *,
    probed: bool = True,
) -> EvaluationJob:
    """Name an evaluation on a dataset's test split, or on a test set given by its digest.

    `find_report` tells whether it has been made. Without `probed`, hallucination probes and
    latencies, which say the same on every test set, are left out.
    """
    return EvaluationJob(
        model=model,
        test_set_digest=test_set if isinstance(test_set, str) else test_set.test_set_digest,
        decoding=decoding,
        normalizer_version=NORMALIZER_VERSION,
        lexicon_version=(lexicon or default_lexicon()).version,
        libraries={name: version(name) for name in ("torch", "transformers")},
        probed=probed,
    )


def find_report(store: ObjectStore, job: EvaluationJob) -> EvaluationReport | None:
    """The report of this job if it was made before; it costs one small read."""
    found = read_record(store, f"{job.prefix}record.json", EvaluationReport)
    return found.model_copy(update={"model": job.model}) if found else None


def load_evaluation(store: ObjectStore, report: EvaluationReport) -> Evaluation:
    """The report with its rows, which must be those that the report was made from."""
    rows = rows_from_parquet(store.read(store.key(report.rows.uri)))
    found = rows_digest(rows)
    if found != report.rows_digest:
        raise IntegrityError(
            "the rows are not those that the report was made from",
            where=report.rows.uri,
            expected=f"rows digest {report.rows_digest}",
            got=found,
            remedy="delete the evaluation's prefix and evaluate again",
        )
    return Evaluation(report, tuple(rows))

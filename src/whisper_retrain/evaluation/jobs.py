"""What an evaluation is called, and whether it has been made: the cheap half of evaluating.

Knows nothing of models or audio. Two prefixes in S3: `transcribe/<version>/<digest>/` holds the
texts and depends on model, test set, decoding and the libraries that decode;
`evaluate/<version>/<digest>/` holds rows and record and depends on normalizer, lexicon, aligner
and probes too. So a new normalizer scores old texts, and a model that was evaluated before, under
whatever name, is never loaded.
"""

from __future__ import annotations

from importlib.metadata import version as version_of
from math import ceil
from typing import Any, ClassVar

from whisper_retrain.config import DecodingConfig
from whisper_retrain.edges.store import ObjectStore, read_record
from whisper_retrain.errors import IntegrityError
from whisper_retrain.evaluation.lexicon import Lexicon, default_lexicon
from whisper_retrain.evaluation.long_form import LONG_FORM_VERSION, DictatedText, DictatedTexts
from whisper_retrain.evaluation.precision import with_precision
from whisper_retrain.evaluation.probes import PROBES_VERSION
from whisper_retrain.evaluation.rows import Evaluation, rows_digest, rows_from_parquet
from whisper_retrain.normalizer import NORMALIZER_VERSION
from whisper_retrain.records import (
    DatasetRevision,
    EvaluationReport,
    Job,
    ModelRef,
)


class TranscriptionJob(Job):
    """Which texts are wanted, whatever they are scored by afterwards."""

    stage: ClassVar[str] = "transcribe"
    version: ClassVar[str] = "v1"

    model_digest: str
    """Of the model's files."""
    test_set_digest: str
    """Of the test split."""
    decoding_digest: str
    """Of the DecodingConfig."""
    libraries: dict[str, str]
    """Name -> version of what decodes."""


SHARD_BATCHES = 8
"""Batches in a shard: what is lost when a transcription is cut off."""


class TranscriptShardJob(Job):
    """One shard of the texts: the unit that is stored, and that a worker of a cluster is given."""

    stage: ClassVar[str] = "transcript"
    version: ClassVar[str] = "v1"

    evaluation: EvaluationJob
    """What it is for; only its transcription is part of the key."""
    number: int
    """From 0, in the order of `evaluation.shards.cut`."""

    @property
    def inputs(self) -> dict[str, Any]:
        """What the texts depend on."""
        return {"transcription": self.evaluation.transcription.digest, "number": self.number}

    @property
    def key(self) -> str:
        """Where its texts lie."""
        return f"{self.evaluation.transcripts}shard-{self.number:05d}.json"


class EvaluationJob(Job):
    """What is to be evaluated, and all that the result depends on."""

    stage: ClassVar[str] = "evaluate"
    version: ClassVar[str] = "v2"

    model: ModelRef
    """What is evaluated."""
    test_set_digest: str
    """Of the test split."""
    decoding: DecodingConfig
    """How it transcribes."""
    normalizer_version: str
    """Of the normalizer for both sides."""
    lexicon_version: str
    """Of the medical lexicon."""
    libraries: dict[str, str]
    """Name -> version of what decodes."""
    aligner_version: str = ""
    """Of jiwer."""
    columns_digest: str = ""
    """Of the test set's speakers, prompts and durations."""
    probes_version: str = ""
    """Of the hallucination probes; empty: none are asked for."""
    long_form_version: str = ""
    """Of the dictations; empty: none are asked for."""

    @property
    def probed(self) -> bool:
        """Whether hallucination probes, dictations and latencies are wanted."""
        return bool(self.probes_version)

    @property
    def conditions(self) -> dict[str, str]:
        """All that the report depends on beside model, test set, decoding, normalizer and lexicon.

        Kept in the report: those of different conditions are never compared.
        """
        return self.libraries | {
            "evaluation": self.version,
            "transcription": TranscriptionJob.version,
            "aligner": self.aligner_version,
            "columns of the test set": self.columns_digest,
            "probes": self.probes_version,
            "long form": self.long_form_version,
        }

    @property
    def transcription(self) -> TranscriptionJob:
        """What the texts depend on; the model's name and place are not among it."""
        return TranscriptionJob(
            model_digest=self.model.model_digest,
            test_set_digest=self.test_set_digest,
            decoding_digest=self.decoding.digest,
            libraries=self.libraries,
        )

    @property
    def inputs(self) -> dict[str, Any]:
        """What the report depends on."""
        return {
            "transcription": self.transcription.digest,
            "normalizer": self.normalizer_version,
            "lexicon": self.lexicon_version,
            "conditions": self.conditions,
        }

    @property
    def transcripts(self) -> str:
        """Where the texts lie."""
        return f"{self.transcription.prefix}/"

    @property
    def shard_size(self) -> int:
        """Utterances in a shard: whole batches, so that sharding changes no batch."""
        return SHARD_BATCHES * self.decoding.batch_size

    def shards(self, utterances: int) -> list[TranscriptShardJob]:
        """The shards of a test set of so many utterances."""
        count = ceil(utterances / self.shard_size)
        return [TranscriptShardJob(evaluation=self, number=number) for number in range(count)]

    def named(self, report: EvaluationReport) -> EvaluationReport:
        """A report that was made under another role: with the name and place of this one."""
        return report.model_copy(update={"model": self.model})


def plan_evaluation(
    model: ModelRef,
    test_set: DatasetRevision | str,
    decoding: DecodingConfig,
    lexicon: Lexicon | None = None,
    *,
    probed: bool = True,
) -> EvaluationJob:
    """Name an evaluation on a dataset's test split, or on a test set given by its digest.

    `find_report` tells whether it has been made. Without `probed`, hallucination probes, dictations
    and latencies, which say the same on every test set, are left out.
    """
    digest, columns = (
        (test_set, "")
        if isinstance(test_set, str)
        else (test_set.test_set_digest, test_set.test_columns_digest)
    )
    return EvaluationJob(
        model=model,
        test_set_digest=digest,
        columns_digest=columns,
        decoding=with_precision(decoding),
        normalizer_version=NORMALIZER_VERSION,
        lexicon_version=(lexicon or default_lexicon()).version,
        libraries={name: version_of(name) for name in ("torch", "transformers")},
        aligner_version=version_of("jiwer"),
        probes_version=PROBES_VERSION if probed else "",
        long_form_version=LONG_FORM_VERSION if probed else "",
    )


def find_report(store: ObjectStore, job: EvaluationJob) -> EvaluationReport | None:
    """The report of this job if it was made before; it costs one small read."""
    found = read_record(store, job.record_key, EvaluationReport)
    return job.named(found) if found else None


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
    return Evaluation(report, tuple(rows), _dictated(store, report))


def _dictated(store: ObjectStore, report: EvaluationReport) -> tuple[DictatedText, ...]:
    if report.dictation_texts is None:
        return ()
    stored = store.read(store.key(report.dictation_texts.uri))
    return DictatedTexts.model_validate_json(stored).items

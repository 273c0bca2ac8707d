"""The order for one training: everything that determines its outcome, and nothing of this machine.

Knows nothing of how it is done. Paths, endpoints and credentials never enter a job, so its digest
is the same wherever it is asked for.
"""

from __future__ import annotations

from whisper_retrain.config import DecodingConfig, TrainingConfig
from whisper_retrain.records import DatasetRevision, ModelRef, Record, digest_of

STAGE = "train"
STAGE_VERSION = "v1"  # to be raised when the same job would mean another result


class Tracking(Record):
    """Where the curves are shown; has no part in the job's digest."""

    project: str = "whisper-retrain"
    name: str | None = None
    mode: str = "auto"  # auto: online with a key in the environment, else offline; or "off"


class TrainingJob(Record):
    """Fine-tune this base model on this dataset revision in this way."""

    dataset: DatasetRevision
    base_model: ModelRef
    config: TrainingConfig
    decoding: DecodingConfig = DecodingConfig()
    code_revision: str = "unknown"
    tracking: Tracking = Tracking()

    @property
    def digest(self) -> str:
        """sha256 of what determines the outcome: cache key and S3 prefix.

        Left out are tracking, the code revision and the operational settings (deadline, processes,
        threads, micro-batch, state interval), so that a rerun with other ones resumes.
        """
        config = self.config.model_dump(mode="json", exclude=set(TrainingConfig.operational))
        return digest_of(
            {
                "dataset": self.dataset.digest,
                "model": self.base_model.model_digest,
                "config": config,
                "decoding": self.decoding.model_dump(mode="json"),
            }
        )

    @property
    def prefix(self) -> str:
        """S3 prefix of everything that this training stores."""
        return f"{STAGE}/{STAGE_VERSION}/{self.digest}"

    @property
    def record_key(self) -> str:
        """Key of the TrainingRun, written last."""
        return f"{self.prefix}/record.json"

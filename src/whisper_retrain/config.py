"""What a person sets: the parameters of the flows, in the words of the Run form.

Pure values with titles, units and bounds; imports nothing heavy, since the Prefect server's form
is made from it. Defaults are those of a sensible retraining, not of the demo.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from whisper_retrain.records import digest_of
from whisper_retrain.whisper_constants import CONTEXT_S, MAX_LABEL_IDS

REPO_PATTERN = r"^[A-Za-z0-9][\w.\-]*/[\w.\-]+$"


class Config(BaseModel):
    """A part of the parameters; unknown names are refused by the Run form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    added: ClassVar[frozenset[str]] = frozenset()
    """Fields that came after digests had been stored: at their default they change none."""

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of all values."""
        return digest_of(self.model_dump(mode="json", exclude=self.unchanged))

    @property
    def unchanged(self) -> set[str]:
        """Fields of `added` that are at their default."""
        fields = type(self).model_fields
        return {name for name in self.added if getattr(self, name) == fields[name].default}


class Columns(Config):
    """Which column of a source holds what."""

    audio: str = Field("audio", title="Audio column")
    reference: str = Field("sentence", title="Reference column", description="Human transcript.")
    id: str | None = Field(None, title="Id column", description="Without one: a digest of audio.")
    speaker: str | None = Field(None, title="Speaker column")
    prompt: str | None = Field(None, title="Prompt column", description="A topic or category.")


class DatasetSource(Config):
    """One place that labelled recordings come from."""

    name: str = Field("main", title="Name", pattern=r"^[a-z0-9\-]+$")
    kind: Literal["hub", "folder", "s3"] = Field("hub", title="Kind")
    location: str = Field(
        title="Location",
        description="Hub repo (namespace/name); folder, .zip or .tar, or s3://bucket/prefix, "
        "with a listing in it.",
        min_length=1,
    )
    ref: str = Field("main", title="Ref", description="Branch, tag or revision of a Hub repo.")
    preset: Literal["none", "paulmooney", "corrections"] = Field(
        "none", title="Preset", description="Known datasets set their columns themselves."
    )
    columns: Columns = Field(Columns(), title="Columns")


Disjoint = Literal["speaker-and-phrase", "speaker", "phrase", "none", "test-only", "guard"]


TEST_SHARE = 0.3
"""Of speakers and of phrases. On PaulMooney's structure 582 utterances of 37 speakers, which show a
change of 1.6 points at a first look; 20 % give 255, which show 2.3 (docs/dataset.md)."""


class SplitPolicy(Config):
    """How utterances are split; stable when data is added."""

    disjoint: Disjoint = Field(
        "speaker-and-phrase",
        title="Test is disjoint from train by",
        description="Utterances that would leak are dropped; test-only: all are the test set; "
        "guard: all but those of some speakers, who are the validation split.",
    )
    test_share: float | None = Field(
        None,
        title="Test share",
        description="Of speakers and of phrases; none: what the dataset began with, or 30 %.",
        gt=0,
        lt=0.5,
    )
    validation_share: float = Field(
        0.06, title="Validation share", description="Of the phrases left.", gt=0, lt=0.5
    )
    test_speakers: tuple[str, ...] = Field(
        (), title="Test speakers", description="Named speakers instead of a share of them."
    )
    test_set: Literal["frozen", "grow"] = Field(
        "frozen", title="Test set", description="Frozen: new recordings never enter the test set."
    )
    vault_share: float = Field(
        0.0,
        title="Vault share",
        description="Of the test set, set aside and never used.",
        ge=0,
        lt=1,
    )
    salt: str = Field("whisper-retrain", title="Salt", description="Another salt: other splits.")

    @property
    def share_tested(self) -> float:
        """The test share that is named, or that of a dataset which begins now."""
        return TEST_SHARE if self.test_share is None else self.test_share


class ValidationBounds(Config):
    """What an utterance must keep to; outside of it, it is quarantined and named."""

    min_duration_s: float = Field(0.2, title="Shortest (s)", gt=0, le=30)
    max_duration_s: float = Field(
        CONTEXT_S,
        title="Longest (s)",
        description="Whisper hears 30 s at a time.",
        gt=0,
        le=CONTEXT_S,
    )
    min_level_dbfs: float = Field(
        -60.0, title="Quietest (dBFS)", description="RMS level; below it is silence.", le=0
    )
    max_clipped_share: float = Field(
        0.05, title="Clipped samples (share)", description="At full scale.", ge=0, le=1
    )
    max_label_ids: int = Field(
        MAX_LABEL_IDS,
        title="Most label ids",
        description="Whisper's decoder takes no more.",
        ge=8,
        le=MAX_LABEL_IDS,
    )
    min_characters_per_s: float = Field(0.3, title="Slowest speech (characters/s)", ge=0)
    max_characters_per_s: float = Field(35.0, title="Fastest speech (characters/s)", gt=0)
    tokenizer: str | None = Field(
        None,
        title="Tokenizer file",
        description="Path of a tokenizer.json that counts label ids; without one: bytes / 2.",
    )


class DatasetConfig(Config):
    """What the dataset is made from, and how much must be new for a retraining."""

    sources: tuple[DatasetSource, ...] = Field(title="Sources", min_length=1)
    splits: SplitPolicy = Field(SplitPolicy(), title="Splits")
    bounds: ValidationBounds = Field(ValidationBounds(), title="Bounds of validation")
    review: str | None = Field(
        None,
        title="Review file",
        description="CSV (path or s3://) in which a person overruled or corrected references.",
    )
    min_new_utterances: int = Field(
        1, title="New utterances needed", description="Fewer: no retraining.", ge=0
    )
    min_new_hours: float = Field(
        0.0, title="New speech needed (hours)", description="Either bound is enough.", ge=0
    )

    @field_validator("sources")
    @classmethod
    def _names_differ(cls, sources: tuple[DatasetSource, ...]) -> tuple[DatasetSource, ...]:
        names = [source.name for source in sources]
        if len(set(names)) < len(names):
            # Ids of utterances begin with the name of their source.
            raise ValueError(f"names of sources must differ, got {', '.join(names)}")
        return sources


def only_test(source: DatasetSource) -> DatasetConfig:
    """A dataset that is a test set and nothing else."""
    return DatasetConfig(sources=(source,), splits=SplitPolicy(disjoint="test-only"))


GUARD_VALIDATION_SHARE = 0.25
"""Of general speech, whole speakers: what averages against forgetting are chosen on."""


def guard_of(source: DatasetSource) -> DatasetConfig:
    """General speech: the guard's test set, and a validation split of other speakers."""
    splits = SplitPolicy(disjoint="guard", validation_share=GUARD_VALIDATION_SHARE)
    return DatasetConfig(sources=(source,), splits=splits)


class BaseModelConfig(Config):
    """What fine-tuning starts from."""

    repo: str = Field("openai/whisper-small.en", title="Hub repo", pattern=REPO_PATTERN)
    ref: str = Field("main", title="Ref", description="Branch, tag or revision.")


class TrainingConfig(Config):
    """How to fine-tune."""

    epochs: float | None = Field(
        None,
        title="Epochs",
        description="How often each utterance is seen at most; patience mostly ends it before. "
        "None: 6, or what the optimizer steps come to.",
        gt=0,
        le=1000,
    )
    max_steps: int | None = Field(
        None,
        title="Optimizer steps at most",
        description="A bound on the epochs; without epochs, the number of steps.",
        ge=1,
        le=1_000_000,
    )
    batch_size: int = Field(
        32, title="Effective batch (utterances)", description="Per step, over all.", ge=1, le=4096
    )
    learning_rate: float | None = Field(
        None, title="Peak learning rate", description="None: by model size.", gt=0, lt=1
    )
    warmup_share: float = Field(0.1, title="Warm-up (share of the steps)", ge=0, lt=1)
    decay: Literal["linear", "last-fifth"] = Field(
        "linear",
        title="Decay of the learning rate",
        description="linear: from the warm-up to the end. last-fifth: constant until then, so that "
        "a longer training can go on from there, as tuning does.",
    )
    eval_share: float = Field(0.1, title="Validate every (share of the steps)", gt=0, le=1)
    patience: int = Field(
        3, title="Patience", description="Validations without a better WER until it stops.", ge=1
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", title="Precision")
    seed: int = Field(1, title="Seed", ge=0)
    processes: int = Field(
        1, title="Processes", description="More than one: torchrun, one per GPU.", ge=1, le=64
    )
    nodes: int = Field(
        1,
        title="Machines",
        description="More than one: each runs this training, with MASTER_ADDR, MASTER_PORT and "
        "NODE_RANK in its environment, and so many processes.",
        ge=1,
        le=64,
    )
    threads: int = Field(0, title="CPU threads per process", description="0: all.", ge=0)
    deadline_s: int = Field(86_400, title="Deadline (s)", ge=1)
    packed_share: float = Field(
        0.5,
        title="Utterances in windows of 30 s",
        description="Share of utterances that are heard one after the other, with pauses, as in a "
        "dictation; the others by themselves, and their audio ends soon after the speech does.",
        ge=0,
        le=1,
    )
    window_utterances: int | None = Field(
        None,
        title="Utterances in a window at most",
        description="None: as many as fit; 1: each alone in its 30 s.",
        ge=1,
    )
    silent_share: float = Field(
        0.2,
        title="Windows without speech",
        description="Beside every window with speech so many with silence, noise or hum.",
        ge=0,
        le=10,
    )
    context_margin_s: float = Field(
        1.0, title="Silence after the longest utterance (s)", ge=0.1, le=30
    )
    bucket_batches: int = Field(
        8,
        title="Bucket (batches)",
        description="Batches drawn together and sorted by length; 1: none.",
        ge=1,
        le=4096,
    )
    micro_batch_audio_s: float | None = Field(
        None,
        title="Micro-batch (audio seconds, padded)",
        description="At most so much at once on each device; None: by device. Halved when memory "
        "runs out; the effective batch stays.",
        gt=0,
    )
    weight_decay: float = Field(0.0, title="Weight decay", ge=0, le=1)
    max_grad_norm: float = Field(1.0, title="Gradient clipping (norm)", gt=0)
    gradient_checkpointing: bool = Field(
        False, title="Gradient checkpointing", description="Less memory, about a third slower."
    )
    compile: bool = Field(False, title="torch.compile", description="Pays off on long GPU runs.")
    lora_rank: int = Field(0, title="LoRA rank", description="0: train all weights.", ge=0, le=512)
    spec_augment: bool = Field(False, title="SpecAugment")
    speed_augment: float = Field(
        0.0, title="Speed change", description="At most this fraction.", ge=0, le=0.5
    )
    noise_augment_share: float = Field(0.0, title="Utterances with added noise", ge=0, le=1)
    average: Literal["none", "last", "best"] = Field(
        "none",
        title="Average checkpoints",
        description="Of the last or best validations; kept only if its WER is not worse.",
    )
    average_count: int = Field(3, title="Checkpoints to average", ge=2, le=20)
    base_share: float = Field(
        0.0, title="Share of the base model's weights", description="Less forgetting.", ge=0, lt=1
    )
    validate_base: bool = Field(True, title="Validate the base model first")
    max_validation_utterances: int | None = Field(
        None, title="Validation utterances at most", description="None: the whole split.", ge=1
    )
    state_interval_s: float = Field(600, title="Save training state every (s)", gt=0)
    keep_trunk: bool = Field(
        False,
        title="Keep the trunk",
        description="The training state before a decay in the last fifth stays in S3.",
    )
    follow_tuning: bool = Field(
        True,
        title="Follow a tuning",
        description="What a person accepted of a tuning for this release repo takes the place of "
        "these settings.",
    )

    # What says how the work is done, not what comes out: a rerun with other values resumes.
    operational: ClassVar[frozenset[str]] = frozenset(
        {
            "deadline_s",
            "follow_tuning",
            "keep_trunk",
            "micro_batch_audio_s",
            "nodes",
            "processes",
            "state_interval_s",
            "threads",
        }
    )
    added: ClassVar[frozenset[str]] = frozenset({"decay", "follow_tuning", "keep_trunk", "nodes"})


CandidateKind = Literal["cold", "warm", "merge", "merge-base"]


class CandidatesConfig(Config):
    """Which models a retraining makes; the best of them on the validation split is judged."""

    kinds: tuple[CandidateKind, ...] = Field(
        ("cold", "merge"),
        title="Candidates",
        description="cold: from the base model. warm: from the champion. merge: averages of these "
        "and of champion and cold. merge-base: averages of base model and cold.",
        min_length=1,
    )
    seeds: int = Field(
        1, title="Cold trainings", description="With other seeds; their average too.", ge=1, le=10
    )
    min_validation_words: int = Field(
        1500,
        title="Least validation split (reference words)",
        description="With fewer only the first candidate is made: they could not be told apart.",
        ge=0,
    )

    @property
    def is_one(self) -> bool:
        """Whether there is nothing to choose from."""
        return self.kinds == ("cold",) and self.seeds == 1


class DecodingConfig(Config):
    """How the model's users decode; the gate always scores this way."""

    language: str | None = Field(
        None, title="Language", description="Needed for multilingual models."
    )
    task: Literal["transcribe", "translate"] | None = Field(None, title="Task")
    num_beams: int = Field(1, title="Beams", description="1: greedy.", ge=1, le=16)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Precision",
        description="Of the weights while the gate transcribes; auto: half, where the machine has"
        " instructions for it.",
    )
    max_tokens_per_s: float = Field(
        12.0, title="Bound on tokens per second", description="Bounds runaway decoding.", gt=0
    )
    batch_size: int = Field(16, title="Batch (utterances or dictations)", ge=1, le=512)


class ReleaseConfig(Config):
    """Where the champion is published."""

    repo: str = Field("your-org/whisper-medical", title="Hub repo", pattern=REPO_PATTERN)
    private: bool = Field(True, title="Private")
    report_audio: bool = Field(
        False,
        title="Recordings in the report",
        description="Players in the HTML report in S3; recordings never reach the Hub.",
    )
    champion_tag: str = Field("champion", title="Champion tag", pattern=r"^[\w.\-]+$")
    dictation_margin: float | None = Field(
        0.05,
        title="Long-form margin of the last check (WER)",
        description="75 s of stitched test speech may be heard so much worse than the same"
        " utterances one by one, without eight words missing in a row; none: a text is enough.",
        ge=0,
    )

    added: ClassVar[frozenset[str]] = frozenset({"dictation_margin"})

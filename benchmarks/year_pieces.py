"""The pieces of benchmarks/year.py: datasets, trainings, evaluations, decisions; each done once.

They are the library's own stages on a real S3 server, without Prefect: what a stage has done lies
under the digest of its inputs, so a stopped run goes on where it was. Knows nothing of policies.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from benchmarks.year_corpus import MONTHS, Reading, arrive, digest_of_readings
from whisper_retrain import model_files
from whisper_retrain.config import (
    CandidatesConfig,
    Columns,
    DatasetConfig,
    DatasetSource,
    DecodingConfig,
    SplitPolicy,
    TrainingConfig,
    guard_of,
    only_test,
)
from whisper_retrain.data.latest import enough_new
from whisper_retrain.data.manifest import Utterance, digest_of_split, load_manifest
from whisper_retrain.data.refresh import refresh_dataset
from whisper_retrain.data.shards import AudioShards
from whisper_retrain.edges.store import S3Store, read_record, write_record
from whisper_retrain.evaluation.evaluate import evaluate_model
from whisper_retrain.evaluation.jobs import load_evaluation, plan_evaluation
from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.decision import DecisionJob, judge
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.history.looks import Lineage, close_look, enter_look, lineage_of
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import (
    Checkpoint,
    DatasetRevision,
    Decision,
    EvaluationReport,
    ModelRef,
    Pair,
    Split,
    TrainingRun,
)
from whisper_retrain.training.candidates import (
    BASE,
    CHAMPION,
    Candidate,
    Entry,
    choose,
    planned_candidates,
)
from whisper_retrain.training.code_revision import code_revision
from whisper_retrain.training.job import Tracking, TrainingJob, WarmStart
from whisper_retrain.training.merging import MergeJob, MergePart, merge

CACHE_BYTES = 20 * 2**30
YEAR = 2026
DAY = 28
"""Of each month on which a retraining decides."""
COLUMNS = Columns(
    audio="file_name", reference="sentence", id="id", speaker="speaker", prompt="prompt"
)


@dataclass(frozen=True)
class Model:
    """A model of the year, and where it comes from."""

    name: str
    """What policies know it by."""
    ref: ModelRef
    """By the digest of its files."""
    checkpoint: Checkpoint | None = None
    """Its files in S3; None: the base model."""
    run: TrainingRun | None = None
    """The training that made it; None for the base model and for averages."""
    dataset: DatasetRevision | None = None
    """What it was trained on."""
    seconds: float = 0.0
    """That making it took; an average's are those of its validation."""


@dataclass(frozen=True)
class Made:
    """The candidates of one month."""

    models: tuple[Model, ...]
    """All of them, the best on the validation split first."""
    beats_champion: bool = True
    """Whether one of them can make fewer errors than the champion, by that split."""

    @property
    def cold_s(self) -> float:
        """Seconds of the one cold training that costs are told in; else of the first training."""
        trained = [(one, one.run) for one in self.models if one.run]
        cold = [one for one, run in trained if run.started_from is None]
        return (cold or [one for one, _ in trained])[0].seconds


Train = Callable[[TrainingJob, Path, Path], TrainingRun]
"""A job, the folder of the model it starts from, and a folder for what is under way."""


@dataclass(frozen=True)
class World:
    """Where the year takes place, and the settings of all its retrainings."""

    store: S3Store
    cache: Path
    base: Path
    train: Train
    test_speakers: tuple[str, ...]
    training: TrainingConfig
    candidates: CandidatesConfig = field(default_factory=CandidatesConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    policy: GatePolicy = field(default_factory=GatePolicy)
    validation_share: float = 0.2
    probed: bool = True
    """Whether the gate hears probes and dictations, too."""
    say: Callable[[str], None] = print
    evaluations: dict[str, Evaluation] = field(default_factory=dict)

    @cached_property
    def base_model(self) -> Model:
        """What everybody begins with."""
        digest = model_files.model_digest(self.base)
        return Model(name=BASE, ref=ModelRef(name=BASE, model_digest=digest))

    @cached_property
    def _shards(self) -> AudioShards:
        return AudioShards(self.store, self.cache, CACHE_BYTES)

    def dataset(
        self, month: str, drops: Sequence[tuple[Path, Sequence[Reading]]]
    ) -> DatasetRevision:
        """The dataset as a refresh makes it of all drops until this month."""
        readings = [one for _, part in drops for one in part]
        first = digest_of_readings(drops[0][1])
        key = f"year/datasets/{first}/{digest_of_readings(readings)}-{MONTHS.index(month):02d}.json"
        if found := read_record(self.store, key, DatasetRevision):
            return found
        self.say(f"{month}: refresh of {len(readings)} recordings")
        place = arrive(self.cache / f"recordings-{first}", drops)
        revision = refresh_dataset(self.config(place), self.store)
        write_record(self.store, key, revision)
        return revision

    def is_new(self, before: DatasetRevision | None, dataset: DatasetRevision) -> bool:
        """Whether there is enough in a dataset for a retraining, by the settings' own rule."""
        place = Path(dataset.sources[0].location)
        return enough_new(before, dataset, self.config(place))

    def config(self, place: Path) -> DatasetConfig:
        """How a refresh makes a dataset of a folder of recordings."""
        splits = SplitPolicy(
            test_speakers=self.test_speakers, validation_share=self.validation_share
        )
        source = DatasetSource(kind="folder", location=str(place), columns=COLUMNS)
        return DatasetConfig(sources=(source,), splits=splits)

    def test_set(self, folder: Path, is_guard: bool = False) -> DatasetRevision:
        """Recordings that are a test set; for a guard, without the voices that flows set aside."""
        source = DatasetSource(
            name=folder.name.rsplit("-", 1)[0], kind="folder", location=str(folder), columns=COLUMNS
        )
        return refresh_dataset((guard_of if is_guard else only_test)(source), self.store)

    def evaluation(
        self, model: Model, dataset: DatasetRevision, split: Split = "test", probed: bool = False
    ) -> Evaluation:
        """What a model makes of a test set or another split."""
        utterances = self._utterances(dataset, split)
        tested: DatasetRevision | str = dataset
        if split != "test":
            tested = digest_of_split(utterances, split)
        lexicon = default_lexicon(self.policy.own_terms)
        job = plan_evaluation(model.ref, tested, self.decoding, lexicon, probed=probed)
        if job.digest not in self.evaluations:
            report = evaluate_model(
                job,
                self.folder(model),
                self.store,
                self._shards.audio,
                utterances,
                lexicon=lexicon,
            )
            self.say(f"  {model.name}: WER {report.words.error_rate:.2%} on {len(utterances)}")
            self.evaluations[job.digest] = load_evaluation(self.store, job.named(report))
        return self.evaluations[job.digest]

    def tested(self, model: Model, dataset: DatasetRevision) -> Evaluation:
        """What a model makes of the frozen test set, as the gate wants it."""
        return self.evaluation(model, dataset, probed=self.probed)

    def folder(self, model: Model) -> Path:
        """The model's files on this machine."""
        if model.checkpoint is None:
            return self.base
        return model_files.fetch_checkpoint(self.store, model.checkpoint, self.cache / "models")

    def made(
        self,
        prefix: str,
        dataset: DatasetRevision,
        champion: Model,
        training: TrainingConfig,
        wanted: CandidatesConfig,
    ) -> Made:
        """The candidates of a month, trained from the base model or from this champion."""
        has_champion = champion.checkpoint is not None
        validation = self._utterances(dataset, "validation")
        planned = planned_candidates(
            wanted,
            training,
            validation_words=sum(len(normalize(one.reference).split()) for one in validation),
            has_champion=has_champion,
            same_base=has_champion,
        )
        trained = {
            one.name: self._candidate(prefix, one, dataset, champion)
            for one in planned
            if one.config
        }
        if len(planned) == 1:
            return Made(tuple(trained.values()))
        models = trained | {
            one.name: self._merged(prefix, one, trained, champion, dataset)
            for one in planned
            if one.parts
        }
        entries = {
            one.name: Entry(
                one,
                self.evaluation(models[one.name], dataset, "validation"),
                self._seconds_of(one, models),
            )
            for one in planned
        }
        before = self.evaluation(champion, dataset, "validation") if has_champion else None
        choice = choose(entries, before, self.policy)
        self.say(f"  {choice.reason}")
        winner = choice.winner or choice.compared[0].name
        ranked = [winner, *(one.name for one in choice.compared if one.name != winner)]
        return Made(tuple(models[name] for name in ranked), choice.winner is not None)

    def _seconds_of(self, candidate: Candidate, models: Mapping[str, Model]) -> float:
        needed = [name for name in candidate.parts or [candidate.name] if name in models]
        return sum(models[name].seconds for name in needed)

    def _candidate(
        self, prefix: str, candidate: Candidate, dataset: DatasetRevision, champion: Model
    ) -> Model:
        assert candidate.config, "averages are not trained"
        start = champion if candidate.kind == "warm" else None
        return self.trained(f"{prefix}-{candidate.name}", candidate.config, dataset, start)

    def trained(
        self,
        name: str,
        config: TrainingConfig,
        dataset: DatasetRevision,
        champion: Model | None = None,
    ) -> Model:
        """A model trained in this way, from the base model or on from a champion."""
        start = WarmStart(champion=champion.ref, dataset=champion.dataset) if champion else None
        job = TrainingJob(
            dataset=dataset,
            base_model=self.base_model.ref,
            config=config,
            decoding=self.decoding,
            code_revision=code_revision(),
            tracking=Tracking(mode="off"),
            start=start,
        )
        self.say(f"  {name}: training on {dataset.splits['train'].utterances}")
        work = self.cache / "work" / job.digest[:16]
        run = self.train(job, self.folder(champion) if champion else self.base, work)
        shutil.rmtree(work, ignore_errors=True)
        self.say(
            f"  {name}: {run.steps} steps in {run.duration_s:.0f} s, {run.audio_s_per_s} audio-s/s,"
            f" WER {run.validation_wer:.2%} on validation"
        )
        ref = ModelRef(name=name, model_digest=run.checkpoint.model_digest)
        return Model(name, ref, run.checkpoint, run, dataset, run.duration_s)

    def _merged(
        self,
        prefix: str,
        candidate: Candidate,
        trained: Mapping[str, Model],
        champion: Model,
        dataset: DatasetRevision,
    ) -> Model:
        known = {**trained, BASE: self.base_model, CHAMPION: champion}
        parts = [(known[name], share) for name, share in candidate.parts.items()]
        job = MergeJob(
            parts=tuple(
                MergePart(model=one.ref, share=share, checkpoint=one.checkpoint)
                for one, share in parts
            )
        )
        with tempfile.TemporaryDirectory() as folder:
            folders = [self.folder(one) for one, _ in parts]
            checkpoint = merge(job, folders, self.store, Path(folder) / "merged")
        name = f"{prefix}-{candidate.name}"
        ref = ModelRef(name=name, model_digest=checkpoint.model_digest)
        model = Model(name, ref, checkpoint, None, dataset)
        report = self.evaluation(model, dataset, "validation").report
        return Model(name, ref, checkpoint, None, dataset, report.real_time_factor * report.audio_s)

    def decision(
        self,
        books: str,
        month: str,
        champion: Model,
        challenger: Model,
        dataset: DatasetRevision,
        general: DatasetRevision,
    ) -> Decision:
        """The gate's: both models on the frozen test set and on general speech.

        `books` names whose looks at the test set are counted: two policies keep books of their own.
        """
        models = Pair(champion=champion.ref.model_digest, challenger=challenger.ref.model_digest)
        both = [self.tested(one, dataset) for one in (champion, challenger)]
        guard = [self.evaluation(one, general) for one in (champion, challenger)]
        ledger = S3Store(f"{self.store.location}/{books}", self.store._given)
        lineage = self._lineage(dataset)
        looks = enter_look(
            ledger,
            lineage,
            models.champion,
            models.challenger,
            datetime(YEAR, MONTHS.index(month) + 1, DAY, tzinfo=UTC),
            self.policy.planned_looks,
        )
        job = DecisionJob(
            reports=_reports(both),
            baseline=None,
            guard=_reports(guard),
            policy=self.policy,
            looks=looks,
            first_champion=champion.checkpoint is None,
        )
        key = f"{job.prefix}/decision.json"
        found = read_record(self.store, key, Decision)
        if found is None:
            found = judge(
                *both,
                self.policy,
                looks=looks,
                first_champion=job.first_champion,
                guard=Pair(champion=guard[0], challenger=guard[1]),
            ).decision
            write_record(self.store, key, found)
        better = any(one.rule == "improvement" and one.outcome == "pass" for one in found.rules)
        close_look(ledger, lineage, models.champion, models.challenger, better)
        return found

    def _lineage(self, dataset: DatasetRevision) -> Lineage:
        words = {
            one.audio_sha256: len(normalize(one.reference).split())
            for one in self._utterances(dataset, "test")
        }
        return lineage_of(self.store, dataset, words)

    def _utterances(self, dataset: DatasetRevision, split: Split) -> list[Utterance]:
        found = load_manifest(self.store, dataset, self.cache)
        return [one for one in found if one.split == split]


def _reports(both: Sequence[Evaluation]) -> Pair[EvaluationReport]:
    champion, challenger = both
    return Pair(champion=champion.report, challenger=challenger.report)

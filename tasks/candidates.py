"""Tasks between the trainings of a retraining and its gate: averages, validation, the choice."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.gating import model_folder
from tasks.policies import LOOKUP, STAGE
from tasks.services import cache_dir, hub, store
from whisper_retrain import model_files
from whisper_retrain.config import DecodingConfig, ReleaseConfig
from whisper_retrain.data.manifest import digest_of_split, load_manifest
from whisper_retrain.edges.clock import SystemClock
from whisper_retrain.evaluation.jobs import load_evaluation
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.history.retrainings import (
    RetrainingRequest,
    evidence_of_model,
    finished_retrainings,
)
from whisper_retrain.history.unbeaten import Unbeaten, keep_unbeaten
from whisper_retrain.model_files import ModelJob
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import (
    Checkpoint,
    DatasetRevision,
    EvaluationReport,
    Record,
    TrainingRun,
)
from whisper_retrain.release.scores import percent_text, points_text
from whisper_retrain.release.transaction import current_champion
from whisper_retrain.training.candidates import Candidate, Choice, Entry, choose
from whisper_retrain.training.job import WarmStart
from whisper_retrain.training.merging import MergeJob, merge


class Validation(Record):
    """What candidates are compared on, and how."""

    dataset: DatasetRevision
    """Whose validation split it is."""
    split_digest: str
    """Of its ids, audio and references."""
    words: int
    """Of its references, normalised."""
    decoding: DecodingConfig
    """How it is transcribed."""
    policy: GatePolicy
    """Its own medical terms, and the bootstrap."""


class Challenger(Record):
    """What the candidates came to."""

    run: TrainingRun | None
    """Of the challenger; None: surely none beats the champion, by the validation split."""
    champion_revision: str | None = None
    """The champion that candidates were compared with, where they were."""
    choice: Choice | None = None
    """How the candidates compared; None where there was one."""

    @property
    def reason(self) -> str:
        """Why it is this one, or none."""
        return self.choice.reason if self.choice else ""


class Made(Record):
    """A candidate that was made, and how it did on the validation split."""

    candidate: Candidate
    """What it is."""
    report: EvaluationReport
    """Of the validation split."""
    training_s: float
    """Of its training, or of those that went into it."""


@task(task_run_name="count-validation-split", **LOOKUP)
def count_validation(
    dataset: DatasetRevision, decoding: DecodingConfig, policy: GatePolicy
) -> Validation:
    """The validation split: its digest, and how many words it has."""
    utterances = load_manifest(store(), dataset, cache_dir())
    chosen = [one for one in utterances if one.split == "validation"]
    return Validation(
        dataset=dataset,
        split_digest=digest_of_split(chosen, "validation"),
        words=sum(len(normalize(one.reference).split()) for one in chosen),
        decoding=decoding,
        policy=policy,
    )


@task(task_run_name="find-champion-to-start-from", **LOOKUP)
def find_start(release: ReleaseConfig) -> WarmStart | None:
    """The champion as it is now, and what it was trained on; None before the first."""
    revision = current_champion(release, hub())
    if revision is None:
        return None
    job = ModelJob(name="champion", repo=release.repo, revision=revision)
    champion = model_files.describe(hub(), job, cache_dir("models"))
    finished = finished_retrainings(store(), release)
    evidence = evidence_of_model(finished, champion.model_digest)
    return WarmStart(
        champion=champion,
        dataset=evidence.dataset if evidence else None,
        base_model=evidence.run.base_model if evidence else None,
    )


@task(task_run_name="merge-{name}", **STAGE)
def average(name: str, job: MergeJob) -> Checkpoint:
    """The average of these models, as a checkpoint in S3."""
    folders = [model_folder(one.model, one.checkpoint) for one in job.parts]
    with tempfile.TemporaryDirectory(dir=cache_dir("work")) as folder:
        return merge(job, folders, store(), Path(folder) / "merged")


@task(task_run_name="choose-candidate", **LOOKUP)
def choose_candidate(
    made: list[Made], champion: EvaluationReport | None, policy: GatePolicy
) -> Choice:
    """Compare the candidates on the validation split, utterance by utterance."""
    entries = {one.candidate.name: _entry(one) for one in made}
    before = load_evaluation(store(), champion) if champion else None
    choice = choose(entries, before, policy)
    get_run_logger().info("%s", choice.reason)
    return choice


def _entry(made: Made) -> Entry:
    validating_s = made.report.real_time_factor * made.report.audio_s
    evaluation = load_evaluation(store(), made.report)
    return Entry(made.candidate, evaluation, made.training_s + validating_s)


@task(task_run_name="candidates-table", cache_policy=NO_CACHE)
def publish_candidates_note(choice: Choice) -> None:
    """The candidates on the validation split, and what each cost."""
    create_table_artifact(candidates_table(choice), key="candidates", description=choice.reason)


def candidates_table(choice: Choice) -> list[dict[str, str]]:
    """A row a candidate, the lowest WER first."""
    return [
        {
            "candidate": one.name + (" (challenger)" if one.name == choice.winner else ""),
            "WER on validation": percent_text(one.wer),
            "medical WER": percent_text(one.medical_wer),
            "against the champion": points_text(one.change) if one.change is not None else "",
            "90 % interval": f"{points_text(one.interval.low)} to {points_text(one.interval.high)}"
            if one.interval
            else "",
            "cost in cold trainings": f"{one.cost:.2f}",
        }
        for one in choice.compared
    ]


@task(task_run_name="keep-unbeaten", **LOOKUP)
def keep_as_unbeaten(request: RetrainingRequest, found: Challenger) -> None:
    """Record that no candidate can beat this champion, by the validation split."""
    if found.champion_revision is None or found.choice is None:
        raise ValueError("without a champion to beat some candidate is the challenger")
    record = Unbeaten(
        request=request,
        champion_revision=found.champion_revision,
        choice=found.choice,
        at=SystemClock().now(),
    )
    keep_unbeaten(store(), record)

"""Cache keys and retries of the tasks, on a real Prefect server."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from prefect import Task, flow, task
from prefect.cache_policies import NO_CACHE

import tasks
from tasks import policies
from tasks.policies import GPU_TAG, STAGE, is_transient
from tests.fixtures.evidence import some_evidence
from whisper_retrain.config import (
    DatasetConfig,
    DatasetSource,
    DecodingConfig,
    ReleaseConfig,
    TrainingConfig,
)
from whisper_retrain.data.plan import PlanJob, RefreshPlan, ShardJob
from whisper_retrain.errors import InputError, StorageError
from whisper_retrain.evaluation.jobs import (
    TranscriptionJob,
    TranscriptShardJob,
    plan_evaluation,
)
from whisper_retrain.gate.decision import DecisionJob
from whisper_retrain.gate.ledger import Standing
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.model_files import ModelJob
from whisper_retrain.records import Job, ModelRef, Pair
from whisper_retrain.release.evidence import ReleaseJob
from whisper_retrain.settings import Settings
from whisper_retrain.training.job import TrainingJob
from whisper_retrain.training.merging import MergeJob, MergePart

pytestmark = pytest.mark.usefixtures("prefect_server")

EVIDENCE = some_evidence()
SOURCE = DatasetSource(location="demo/speech")
CONFIG = DatasetConfig(sources=(SOURCE,))
MODEL = ModelRef(name="base", model_digest="ab" * 32)
REPORTS = Pair(champion=EVIDENCE.champion, challenger=EVIDENCE.challenger)
EVALUATION = plan_evaluation(MODEL, EVIDENCE.dataset, DecodingConfig())

JOBS: tuple[Job, ...] = (
    PlanJob(config=CONFIG, sources=EVIDENCE.dataset.sources, previous=EVIDENCE.dataset),
    ShardJob(source=SOURCE, revision="1", origin="a.parquet", rows=3),
    RefreshPlan(
        config=CONFIG,
        sources=EVIDENCE.dataset.sources,
        previous=None,
        reused=None,
        reused_rows=0,
        shards=(),
        review=None,
        jobs=(),
    ),
    ModelJob(name="base", repo="demo/tiny", revision="ab" * 20),
    TrainingJob(dataset=EVIDENCE.dataset, base_model=MODEL, config=TrainingConfig()),
    EVALUATION,
    DecisionJob(
        reports=REPORTS, baseline=None, guard=None, policy=GatePolicy(), looks=Standing(),
        first_champion=True,
    ),
    ReleaseJob(evidence=EVIDENCE, release=ReleaseConfig(repo="demo/a")),
    MergeJob(parts=(MergePart(model=MODEL, share=1.0),)),
    TranscriptShardJob(evaluation=EVALUATION, number=0),
)  # fmt: skip


def all_tasks() -> dict[str, Task[..., Any]]:
    """Every task of the package `tasks`, by module and name."""
    modules = [
        importlib.import_module(f"tasks.{found.name}")
        for found in pkgutil.iter_modules(tasks.__path__)
    ]
    return {
        f"{module.__name__}.{name}": value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, Task) and value.fn.__module__ == module.__name__
    }


def job_types(found: Task[..., Any]) -> list[str]:
    """The job that a task takes, by the annotations of its arguments."""
    names = {one.__name__ for one in map(type, JOBS)}
    taken = {**found.fn.__annotations__, "return": None}
    return [str(kind) for kind in taken.values() if str(kind) in names]


def counting(calls: list[str]) -> Callable[[Job], Any]:
    @task(**STAGE)
    def work(job: Job) -> str:
        calls.append(job.digest)
        return f"{job.stage} {len(calls)}"

    return work


def test_equal_jobs_hit_across_flow_runs_and_others_miss() -> None:
    calls: list[str] = []
    work = counting(calls)

    @flow
    def once(repo: str) -> Any:
        return work(ModelJob(name="base", repo=repo, revision="ab" * 20))

    assert once("demo/one") == once("demo/one") == "model 1"
    assert once("demo/two") == "model 2"
    assert len(calls) == 2


def test_a_result_that_names_places_in_another_store_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    work = counting(calls)

    @flow
    def once() -> Any:
        return work(ModelJob(name="base", repo="demo/moved", revision="ab" * 20))

    assert once() == "model 1"
    monkeypatch.setattr(policies, "settings", lambda: Settings(store="s3://another-bucket"))
    assert once() == "model 2"


def test_two_stages_with_equal_inputs_do_not_share_a_result() -> None:
    """Prefect's INPUTS policy would: its key does not contain the task."""

    class Other(ModelJob):
        stage: ClassVar[str] = "other"

    one = {"name": "base", "repo": "demo/three", "revision": "ab" * 20}
    assert Other(**one).inputs == ModelJob(**one).inputs
    assert Other(**one).digest != ModelJob(**one).digest
    assert Other(**one).cache_key.startswith("other/")


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stage)
def test_a_raised_version_moves_the_key_in_s3_and_the_key_in_prefect(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = job.prefix, job.cache_key
    monkeypatch.setattr(type(job), "version", "raised")
    assert job.cache_key != before[1]
    assert job.cache_key == f"{job.stage}/{job.digest}"
    assert job.prefix == f"{job.stage}/raised/{job.digest}" != before[0]


@pytest.mark.parametrize(
    ("raised", "job"),
    [(TranscriptionJob, JOBS[5]), (ShardJob, JOBS[0]), (ShardJob, JOBS[2])],
    ids=["other texts, another report", "other rows, another plan", "other rows and revision"],
)
def test_a_stage_that_rests_on_another_moves_with_it(
    raised: type[Job], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = job.prefix, job.cache_key
    monkeypatch.setattr(raised, "version", "raised")
    assert job.prefix != before[0]
    assert job.cache_key != before[1]


def test_what_has_no_part_in_the_outcome_moves_no_key() -> None:
    renamed = MODEL.model_copy(update={"name": "champion", "repo": "demo/a", "revision": "1"})
    training, evaluation = JOBS[4], JOBS[5]
    assert training.model_copy(update={"base_model": renamed}).digest == training.digest
    assert evaluation.model_copy(update={"model": renamed}).digest == evaluation.digest


def test_every_stage_has_one_task_that_persists_its_result_and_retries() -> None:
    """Which of the tasks do the work of a stage is read from what they take."""
    taking = {name: job_types(one) for name, one in all_tasks().items() if job_types(one)}
    assert sorted(kind for kinds in taking.values() for kind in kinds) == sorted(
        type(job).__name__ for job in JOBS
    )
    for name in taking:
        found = all_tasks()[name]
        assert found.persist_result, name
        assert found.retries == STAGE["retries"], name
        assert found.retry_condition_fn is is_transient, name
        assert found.cache_policy is STAGE["cache_policy"], name


def test_a_task_without_a_job_is_never_cached() -> None:
    others = {name: one for name, one in all_tasks().items() if not job_types(one)}
    assert len(others) > 10
    for name, found in others.items():
        assert found.cache_policy is NO_CACHE, name


def test_tasks_that_need_the_gpu_wait_for_it() -> None:
    waiting = {name for name, found in all_tasks().items() if GPU_TAG in found.tags}
    assert waiting == {"tasks.training.fine_tune", "tasks.gating.evaluate"}


@pytest.mark.parametrize(
    ("error", "tries"),
    [(StorageError("S3 failed"), 3), (InputError("wrong column"), 1), (ValueError("a bug"), 1)],
    ids=["transient", "permanent", "bug"],
)
def test_only_named_transient_errors_are_retried(error: Exception, tries: int) -> None:
    calls: list[int] = []

    @task(retries=2, retry_delay_seconds=0, retry_condition_fn=is_transient)
    def fail() -> None:
        calls.append(1)
        raise error

    @flow
    def once() -> None:
        fail()

    with pytest.raises(type(error)):
        once()
    assert len(calls) == tries

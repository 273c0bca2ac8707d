"""Cache keys and retries of the tasks, on a real Prefect server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prefect import flow, task

from tasks import policies
from tasks.policies import cached, is_transient, stage_key
from whisper_retrain.errors import InputError, StorageError
from whisper_retrain.records import ModelRef

BASE = ModelRef(name="base", model_digest="ab" * 32)
OTHER = ModelRef(name="base", model_digest="cd" * 32)

pytestmark = pytest.mark.usefixtures("prefect_server")


def counting(stage: str, calls: list[str]) -> Callable[[ModelRef], Any]:
    @task(cache_policy=cached(stage), result_serializer="json")
    def work(model: ModelRef) -> str:
        calls.append(model.model_digest)
        return f"{stage} of {model.model_digest[:2]}"

    return work


def test_equal_arguments_hit_across_flow_runs() -> None:
    calls: list[str] = []
    work = counting("model", calls)

    @flow
    def once(model: ModelRef) -> Any:
        return work(model)

    assert once(BASE) == once(BASE) == "model of ab"
    assert len(calls) == 1


def test_other_arguments_miss() -> None:
    calls: list[str] = []
    work = counting("plan", calls)

    @flow
    def once(model: ModelRef) -> Any:
        return work(model)

    once(BASE), once(OTHER)
    assert len(calls) == 2


def test_two_stages_with_equal_arguments_do_not_share_a_result() -> None:
    """Prefect's INPUTS policy would: its key does not contain the task."""
    calls: list[str] = []
    first, second = counting("train", calls), counting("evaluate", calls)

    @flow
    def both() -> tuple[Any, Any]:
        return first(BASE), second(BASE)

    assert both() == ("train of ab", "evaluate of ab")


def test_a_bumped_version_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    before = stage_key("train", {"job": BASE})
    monkeypatch.setitem(dict(policies.STAGE_VERSIONS), "train", "v2")
    monkeypatch.setattr(policies, "STAGE_VERSIONS", {**policies.STAGE_VERSIONS, "train": "v2"})
    after = stage_key("train", {"job": BASE})
    assert before != after
    assert after.startswith("train/v2/")


def test_the_key_does_not_depend_on_the_order_of_arguments() -> None:
    assert stage_key("train", {"a": BASE, "b": [OTHER]}) == stage_key(
        "train", {"b": [OTHER], "a": BASE}
    )


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


def test_every_stage_task_persists_its_result_and_retries() -> None:
    from tasks import dataset, gating, releasing, training

    stages = [
        dataset.plan_refresh,
        dataset.build_shard,
        dataset.commit_revision,
        training.describe_model,
        training.fine_tune,
        gating.evaluate,
        gating.decide,
        releasing.promote,
    ]
    for one in stages:
        assert one.persist_result, one.name
        assert one.retries > 0, one.name
        assert one.retry_condition_fn is is_transient, one.name


def test_tasks_that_need_the_gpu_wait_for_it() -> None:
    from tasks import gating, training

    assert policies.GPU_TAG in training.fine_tune.tags
    assert policies.GPU_TAG in gating.evaluate.tags

"""A stage runs here or on a deployment, as a setting says; what became of the child is told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Completed, Crashed, Failed, Running

from flows import placement
from flows.placement import placed
from tests.fixtures.machines import Machines, works
from whisper_retrain.errors import InputError, TransientError
from whisper_retrain.records import Artifact

pytestmark = pytest.mark.usefixtures("prefect_server")
GIVEN = Artifact(uri="s3://bucket/given", sha256="ab" * 32, size_bytes=1)
MADE = Artifact(uri="s3://bucket/made", sha256="cd" * 32, size_bytes=2)
here: list[Artifact] = []


@flow(name="fine-tune", persist_result=True)
def stand_in(given: Artifact, fails: bool = False) -> Artifact:
    """A stage."""
    here.append(given)
    if fails:
        raise InputError("no such column", remedy="name it").during("fine-tune")
    return MADE


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_RETRAIN_STAGES", json.dumps({"fine-tune": "fine-tune/gpu"}))
    monkeypatch.setattr(placement, "LOOK_EVERY_S", 0.01)
    here.clear()
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(stand_in)
        client.create_deployment(flow_id=flow_id, name="gpu", enforce_parameter_schema=False)


def ended(state: Callable[..., State[Any]], message: str) -> Callable[[FlowRun], None]:
    """Some end that is no work."""

    def end(child: FlowRun) -> None:
        with get_client(sync_client=True) as client:
            for one in (Running(), state(message=message)):
                client.set_flow_run_state(child.id, one, force=True)

    return end


worked = works(stand_in)
lost = ended(Crashed, "the machine is gone")


@flow(name="retrain")
def parent(**stand_ins: Any) -> Artifact:
    return placed(stand_in, lambda *_, **__: False)(GIVEN, **stand_ins)


def test_without_the_setting_it_is_the_flow_itself() -> None:
    assert placed(stand_in, lambda *_, **__: False) is stand_in


def test_a_placed_stage_hands_records_over_and_back(
    on_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Machines(monkeypatch, worked)
    assert parent() == MADE
    [child] = machines.children
    assert child.parameters["given"] == GIVEN.model_dump(mode="json")
    assert here == [GIVEN]


def test_what_is_done_already_asks_for_no_gpu(
    on_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Machines(monkeypatch)

    @flow
    def again() -> Artifact:
        return placed(stand_in, lambda given, fails=False: given == GIVEN)(GIVEN)

    assert again() == MADE
    assert machines.children == []


def test_a_lost_machine_costs_an_attempt_and_too_many_are_told(
    on_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Machines(monkeypatch, lost, worked)
    assert parent() == MADE
    assert len({child.id for child in machines.children}) == 2

    machines = Machines(monkeypatch, lost, lost, lost)
    with pytest.raises(Exception, match="the machine is gone"):
        parent()
    assert len(machines.children) == 1 + placement.LOST_MACHINES


def test_a_failure_is_the_childs_own_and_is_not_tried_again(
    on_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Machines(monkeypatch, worked)
    with pytest.raises(InputError) as failed:
        parent(fails=True)
    assert str(failed.value) == "fine-tune failed: no such column; remedy: name it"
    assert str(failed.value.during("retrain")) == str(failed.value), "the inner stage is named"
    assert len(machines.children) == 1


def test_a_cancelled_child_ends_the_parent(on_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Machines(monkeypatch, ended(Cancelled, "by hand"))
    with pytest.raises(Exception, match="by hand"):
        parent()
    assert len(machines.children) == 1


def test_a_parent_that_runs_again_finds_its_child_and_leaves_failed_ones_behind(
    on_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time it dies while it waits; then the child is done; later ones begin anew."""
    machines = Machines(monkeypatch, worked)

    @flow(retries=1, retry_delay_seconds=0)
    def dies_once() -> Artifact:
        result = placed(stand_in, lambda *_, **__: False)(GIVEN)
        if len(here) == 1 and not died:
            died.append(True)
            raise RuntimeError("killed")
        return result

    died: list[bool] = []
    assert dies_once() == MADE
    assert len(machines.children) == len(here) == 1, "trained once"

    machines = Machines(monkeypatch, ended(Failed, "no memory"), worked)

    @flow(retries=1, retry_delay_seconds=0)
    def once_more() -> Artifact:
        return placed(stand_in, lambda *_, **__: False)(GIVEN)

    assert once_more() == MADE
    assert len(machines.children) == 2


def test_a_server_that_is_away_is_waited_for_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placement, "LOOK_EVERY_S", 0.01)
    away = httpx.ConnectError("refused")

    answers: list[Any] = [away, away, Completed()]

    class Client:
        def read_flow_run(self, _: UUID) -> FlowRun:
            answer = answers.pop(0) if answers else away
            if isinstance(answer, Exception):
                raise answer
            return FlowRun(flow_id=UUID(int=1), state=answer)

    assert placement._awaited(cast(Any, Client()), UUID(int=1)).is_completed()
    monkeypatch.setattr(placement, "SERVER_AWAY_S", 0.05)
    began = time.monotonic()
    with pytest.raises(TransientError, match="found again"):
        placement._awaited(cast(Any, Client()), UUID(int=1))
    assert 0.05 < time.monotonic() - began < 5

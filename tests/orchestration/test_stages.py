"""What a flow fails with names the stage and what to do; its form and its cancellation stay."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest
from jinja2 import Environment
from prefect.exceptions import CancelledRun

from deployments.automations import FAILED_BODY
from flows.gate import gate
from flows.retrain import retrain
from flows.stages import stage
from whisper_retrain.errors import (
    InputError,
    PermanentError,
    StorageError,
    TransientError,
    WhisperRetrainError,
)


def failing(error: Exception) -> None:
    """Two stages, the outer one calling the inner one, which fails."""

    @stage("gate")
    def inner() -> None:
        raise error

    @stage("retrain")
    def outer() -> None:
        inner()

    outer()


@pytest.mark.parametrize(
    ("error", "expected", "told"),
    [
        (
            InputError("no such column", got="text", remedy="name the column"),
            InputError,
            "gate failed: no such column; got text; remedy: name the column",
        ),
        (
            StorageError("S3 failed"),
            TransientError,
            "gate failed: S3 failed; remedy: run again: what was finished is kept",
        ),
        (
            ZeroDivisionError("by zero"),
            PermanentError,
            "gate failed: an error that nobody expected; got ZeroDivisionError('by zero'); remedy: "
            "see the flow run's log; run again afterwards, what was finished is kept",
        ),
    ],
    ids=["permanent", "transient", "bug"],
)
def test_an_error_names_the_innermost_stage_and_what_to_do(
    error: Exception, expected: type[WhisperRetrainError], told: str
) -> None:
    with pytest.raises(expected) as raised:
        failing(error)
    assert str(raised.value) == told
    assert raised.value.__cause__ is error, "Dask pickles causes too: no error is its own"
    again = pickle.loads(pickle.dumps(raised.value)).during("retrain")
    assert str(again) == told, "also after it has come from another process"


def test_a_cancellation_stays_one() -> None:
    with pytest.raises(CancelledRun):
        failing(CancelledRun())


def test_the_run_form_has_the_types_of_the_flows_own_module() -> None:
    assert retrain.parameters.required == ["dataset", "release"]
    assert {"DatasetConfig", "GatePolicy", "ReleaseConfig"} <= retrain.parameters.definitions.keys()
    assert gate.parameters.properties["champion_revision"]["anyOf"][0] == {"type": "string"}


@pytest.mark.parametrize(("kind", "advised"), [("FAILED", False), ("CRASHED", True)])
def test_the_message_to_people_holds_the_whole_error_and_says_what_to_do_after_a_crash(
    kind: str, advised: bool
) -> None:
    message = "gate failed: " + "x" * 600 + "; remedy: evaluate again"
    run = SimpleNamespace(
        name="retrain-a", state=SimpleNamespace(name=kind.title(), type=kind, message=message)
    )
    shown = Environment(autoescape=True)
    shown.filters["ui_url"] = lambda one: f"http://prefect/{one.name}"
    text = shown.from_string(FAILED_BODY).render(flow_run=run)
    assert "gate failed" in text
    assert "remedy: evaluate again" in text
    assert ("it is run again by itself: finished stages are kept" in text) == advised
    assert text.endswith("http://prefect/retrain-a")

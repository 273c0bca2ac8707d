"""Where a stage runs: in this flow run's own process, or on a work pool of its own.

A machine with a GPU costs money while it waits. `WHISPER_RETRAIN_STAGES` names for each heavy
stage the deployment that does it; the parent then waits on a cheap machine. Without the setting
nothing here is in the way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from inspect import signature
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

import httpx
from prefect import Flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import PrefectHTTPStatusError
from prefect.runtime import flow_run
from pydantic import BaseModel

from whisper_retrain.errors import TransientError
from whisper_retrain.records import digest_of
from whisper_retrain.settings import load_settings

P = ParamSpec("P")
R = TypeVar("R")

LOST_MACHINES = 2
"""So often a stage is begun again, while it is waited for, after its machine went away."""
LOOK_EVERY_S, LOOK_SELDOM_S, EAGER_S = 1.0, 5.0, 60.0
"""Pauses between two looks at a child: in its first minute, and after it."""
SERVER_AWAY_S = 600.0
"""So long a parent waits for a Prefect server that does not answer."""


def placed(work: Flow[P, R], is_done: Callable[P, bool]) -> Callable[P, R]:
    """The flow itself, unless a setting places its stage on a deployment.

    Args:
        work: The stage's flow.
        is_done: Whether all that the stage needs a GPU for is stored already: it then runs here.
    """
    deployment = load_settings().stages.get(work.name)
    if deployment is None:
        return work

    def elsewhere(*arguments: P.args, **keywords: P.kwargs) -> R:
        if is_done(*arguments, **keywords):
            return work(*arguments, **keywords)
        given = signature(work.fn).bind(*arguments, **keywords)
        result: R = _attempted(deployment, _as_json(given.arguments))
        return result

    return elsewhere


def _as_json(parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        for name, value in parameters.items()
    }


def _attempted(deployment: str, parameters: dict[str, Any]) -> Any:
    """The result of the first attempt that neither ended badly before nor loses its machine now.

    An attempt is known by this flow run and its parameters: a parent that died and runs again
    finds the child that it had asked for, instead of a second one training the same.
    """
    key = f"{flow_run.id}/{digest_of([deployment, parameters])}"
    attempt, lost = 0, 0
    with get_client(sync_client=True) as client:
        while True:
            attempt += 1
            child = _asked(client, deployment, parameters, f"{key}/{attempt}")
            if child.state and child.state.is_final() and not child.state.is_completed():
                continue  # it ended before this run of the parent
            state = _awaited(client, child.id)
            if not state.is_crashed() or lost == LOST_MACHINES:
                return state.result()
            lost += 1
            get_run_logger().warning("%s was lost (%s): once more", child.name, state.message)


def _asked(
    client: SyncPrefectClient, deployment: str, parameters: dict[str, Any], key: str
) -> FlowRun:
    """The child of this key, found again or made; two that ask at once get the same one."""
    wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
    # Looked for first: asked for again it would leave one more task run without an end.
    if found := client.read_flow_runs(flow_run_filter=wanted):
        get_run_logger().info("found %s again", found[0].name)
        return found[0]
    # It answers with the run itself where no event loop runs, as here.
    made = cast(
        FlowRun,
        run_deployment(deployment, parameters=parameters, timeout=0, idempotency_key=key),
    )
    get_run_logger().info("waiting for %s (%s)", made.name, deployment)
    return made


def _awaited(client: SyncPrefectClient, child: UUID) -> State[Any]:
    """The state that the child ends in; a server that is away for a while is waited for."""
    began = heard = time.monotonic()
    while True:
        try:
            state = client.read_flow_run(child).state
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            state = None
            _bear(error, time.monotonic() - heard)
        else:
            heard = time.monotonic()
        if state and state.is_final():
            return state
        time.sleep(LOOK_EVERY_S if time.monotonic() - began < EAGER_S else LOOK_SELDOM_S)


def _bear(error: httpx.TransportError | PrefectHTTPStatusError, silent_s: float) -> None:
    """Raise when the server has refused, or has been silent for too long."""
    refused = isinstance(error, PrefectHTTPStatusError) and error.response.status_code < 500
    if refused:
        raise error
    if silent_s > SERVER_AWAY_S:
        raise TransientError(
            "the Prefect server does not answer",
            expected=f"an answer within {SERVER_AWAY_S:.0f} s",
            got=f"{type(error).__name__}: {error}",
            remedy="run again when it is back: the stage goes on meanwhile, and is found again",
        ) from error

"""prefect.yaml says what Prefect will really do: it ignores what it does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.cli.deploy import _models as prefect_models
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker
from pydantic import BaseModel

from deployments.automations import HEARTBEAT_LOST_AFTER, OUR_FLOWS
from deployments.setup import GPU_POOL, WORK_POOL

ROOT = Path(__file__).parents[2]
TREE: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS: list[dict[str, Any]] = TREE["deployments"]
OUR_OWN_KEYS = {"definitions"}
INNER_FLOWS = ("fine_tuning.fine_tuning", "gate.gate", "promotion.promotion", "tune.trial")
PLACED = {"flows.fine_tuning.fine_tuning", "flows.gate.gate"}
"""Get their parameters from the parent that waits for them."""

pytestmark = pytest.mark.filterwarnings("ignore")


def unknown_keys(given: dict[str, Any], model: type[BaseModel], where: str) -> list[str]:
    known = set(model.model_fields) | {f.alias for f in model.model_fields.values() if f.alias}
    return [f"{where}: {key}" for key in given if key not in known]


def misspelt(tree: dict[str, Any]) -> list[str]:
    top = {key: value for key, value in tree.items() if key not in OUR_OWN_KEYS}
    found = unknown_keys(top, prefect_models.PrefectYamlModel, "top level")
    for one in tree["deployments"]:
        where = f"{one['entrypoint']}/{one['name']}"
        found += unknown_keys(one, prefect_models.DeploymentConfig, where)
        found += unknown_keys(one["work_pool"], prefect_models.WorkPoolConfig, f"{where} work_pool")
        limit = one.get("concurrency_limit", {})
        found += unknown_keys(limit, prefect_models.ConcurrencyLimitSpec, f"{where} limit")
        for schedule in one.get("schedules", []):
            found += unknown_keys(schedule, prefect_models.RawScheduleConfig, f"{where} schedule")
    return found


def test_no_key_is_misspelt() -> None:
    assert misspelt(TREE) == []


@pytest.mark.parametrize("place", ["top", "deployment", "work_pool", "limit", "schedule"])
def test_a_misspelt_key_would_be_found(place: str) -> None:
    tree = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    one = next(d for d in tree["deployments"] if "schedules" in d)
    {
        "top": tree,
        "deployment": one,
        "work_pool": one["work_pool"],
        "limit": one["concurrency_limit"],
        "schedule": one["schedules"][0],
    }[place]["concurency_limit"] = 1
    assert len(misspelt(tree)) >= 1


def test_names_schedules_and_pools() -> None:
    """The snapshot: whoever changes it changes what runs on people's machines."""
    assert [
        (
            d["entrypoint"],
            d["name"],
            [f"{s['slug']}: {s['cron']} {s['timezone']}" for s in d.get("schedules", [])],
            d["work_pool"]["name"],
            d.get("concurrency_limit", {}).get("limit"),
        )
        for d in DEPLOYMENTS
    ] == [
        (
            "flows.retrain.retrain",
            "nightly",
            ["nightly: 0 2 * * * Europe/Berlin"],
            WORK_POOL,
            1,
        ),
        ("flows.retrain.retrain", "demo", [], WORK_POOL, 1),
        ("flows.refresh.refresh", "hourly", ["hourly: 15 * * * * Europe/Berlin"], WORK_POOL, 1),
        ("flows.fine_tuning.fine_tuning", "gpu", [], GPU_POOL, None),
        ("flows.gate.gate", "gpu", [], GPU_POOL, None),
        ("flows.rollback.rollback", "manual", [], WORK_POOL, 1),
        ("flows.tune.tune", "manual", [], WORK_POOL, 1),
        ("flows.tune.accept_tuning", "accept", [], WORK_POOL, 1),
        ("flows.notify.notify", "outbox", ["sweep: */5 * * * * UTC"], WORK_POOL, 1),
    ]


@pytest.mark.parametrize("given", DEPLOYMENTS, ids=lambda d: f"{d['entrypoint']}/{d['name']}")
def test_the_parameters_are_what_the_flow_takes(given: dict[str, Any]) -> None:
    flow = load_flow_from_entrypoint(given["entrypoint"])
    if given["entrypoint"] not in PLACED:
        flow.validate_parameters(given.get("parameters", {}))
    schema = parameter_schema(flow.fn)
    missing = set(schema.required or []) - set(given.get("parameters", {}))
    assert not missing or given["entrypoint"] in PLACED, f"the Run form would ask for {missing}"


@pytest.mark.parametrize("given", DEPLOYMENTS, ids=lambda d: f"{d['entrypoint']}/{d['name']}")
def test_the_run_form_explains_itself(given: dict[str, Any]) -> None:
    """Every parameter has a description, every field of a model a title.

    A group (a `$ref`) is labelled with its raw name by the form, and described by its model. Nobody
    fills in the records of a placed stage by hand.
    """
    flow = load_flow_from_entrypoint(given["entrypoint"])
    schema = parameter_schema(flow.fn)
    for name, value in schema.properties.items():
        model = schema.definitions.get(str(value.get("$ref", "")).rsplit("/", 1)[-1], {})
        assert value.get("description") or model.get("description"), f"{name} is not described"
    if given["entrypoint"] in PLACED:
        return
    for model, definition in schema.definitions.items():
        for name, value in definition.get("properties", {}).items():
            assert value.get("title") or "$ref" in value, f"{model}.{name} has no title"


def test_a_redeployment_wakes_no_schedule() -> None:
    """`active: true` would, and so would a schedule without a slug."""
    for schedule in (s for d in DEPLOYMENTS for s in d.get("schedules", [])):
        assert "slug" in schedule
        assert "active" not in schedule


def test_the_demo_holds_out_the_demo_corpus_test_speakers() -> None:
    from whisper_retrain.local.demo.speakers import DEMO_TEST_SPEAKERS

    demo = next(d for d in DEPLOYMENTS if d["name"] == "demo")
    named = demo["parameters"]["dataset"]["splits"]["test_speakers"]
    assert sorted(named) == sorted(map(str, DEMO_TEST_SPEAKERS))


def test_job_variables_are_known_to_the_work_pool() -> None:
    """The server accepts unknown ones silently."""
    template = ProcessWorker.get_default_base_job_template()
    known = set(template["variables"]["properties"])
    for one in DEPLOYMENTS:
        assert set(one["work_pool"].get("job_variables", {})) <= known, one["name"]


def test_a_placed_stage_outlives_its_worker_and_never_waits_for_its_own_parent() -> None:
    """Its log lines go into no pipe of the worker's; its limited pool is not the parent's."""
    for one in DEPLOYMENTS:
        placed = one["entrypoint"] in PLACED
        assert (one["work_pool"]["name"] != WORK_POOL) == placed
        if placed:
            assert one["work_pool"]["job_variables"]["stream_output"] is False


def test_live_flow_runs_are_not_taken_for_zombies() -> None:
    """Three heartbeats at least fit into the window, and a lost machine is noticed in 3 minutes."""
    for one in DEPLOYMENTS:
        every_s = int(one["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
        assert 3 * every_s <= HEARTBEAT_LOST_AFTER.total_seconds() <= 170
    flows = {load_flow_from_entrypoint(one["entrypoint"]).name for one in DEPLOYMENTS}
    inner = {load_flow_from_entrypoint(f"flows.{name}").name for name in INNER_FLOWS}
    assert flows | inner == set(OUR_FLOWS)

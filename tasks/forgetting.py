"""Tasks that keep and show what was tried against forgetting."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.policies import LOOKUP
from tasks.services import store
from whisper_retrain.edges.store import write_record
from whisper_retrain.records import Decision
from whisper_retrain.release.scores import percent_text
from whisper_retrain.training.forgetting import Remembering


@task(task_run_name="keep-remembering", **LOOKUP)
def keep_remembering(decision: Decision, choice: Remembering) -> None:
    """Record what the averages made of which validation splits, beside the case that asked."""
    get_run_logger().info("%s", choice.reason)
    write_record(store(), f"gate/forgetting/v1/{decision.digest}.json", choice)


@task(task_run_name="forgetting-table", cache_policy=NO_CACHE)
def publish_forgetting_note(choice: Remembering) -> None:
    """The champion and the averages on both validation splits."""
    rows = [
        {
            "model": one.name + (" (challenger)" if one.name == choice.winner else ""),
            "WER on general validation speech": percent_text(one.general.error_rate),
            "WER on the validation split": percent_text(one.own.error_rate),
        }
        for one in (choice.champion, *choice.tried)
    ]
    create_table_artifact(rows, key="forgetting", description=choice.reason)

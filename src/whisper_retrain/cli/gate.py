"""`whisper-retrain gate ...`: past decisions; imports no torch."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from whisper_retrain.gate.policy import PRESETS, GatePolicy, load_policy
from whisper_retrain.history.cases import Replayed, load_cases, replay

gate_app = typer.Typer(no_args_is_help=True, help="The gate's past decisions.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@gate_app.callback()
def gate() -> None:
    """The gate's past decisions."""


@gate_app.command("replay")
def replay_command(
    policy: Annotated[
        str, typer.Option(help=f"Another policy: {', '.join(PRESETS)}, or a YAML file.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Decide all past cases again: exactly as they were, or under another policy.

    Exit code 1 when a decision does not come out as it was stored.
    """
    from whisper_retrain.edges.store import S3Store
    from whisper_retrain.evaluation.jobs import load_evaluation
    from whisper_retrain.settings import load_settings

    store = S3Store(load_settings().store)
    other = named_policy(policy) if policy else None
    found = [
        replay(case, lambda report: load_evaluation(store, report), other)
        for case in load_cases(store)
    ]
    if as_json:
        typer.echo(json.dumps([_summary(one) for one in found], indent=1))
    else:
        Console().print(_table(found, other))
    if other is None and not all(one.identical for one in found):
        raise typer.Exit(1)


def named_policy(name: str) -> GatePolicy:
    """A preset by its name, or a policy from a YAML file."""
    return PRESETS[name] if name in PRESETS else load_policy(name)


def _summary(one: Replayed) -> dict[str, object]:
    return {
        "at": one.case.at.isoformat(),
        "challenger": one.case.challenger.model.model_digest,
        "then": one.case.decision.outcome,
        "now": one.decision.outcome,
        "identical": one.identical,
        "reasons": list(one.decision.reasons),
    }


def _table(found: list[Replayed], other: GatePolicy | None) -> Table:
    title = f"under policy {other.name}" if other else "under the policies of then"
    table = Table("at", "challenger", "then", "now", "", title=f"Past decisions {title}")
    for one in found:
        same = "identical" if one.identical else "changed" if one.changed else "same outcome"
        then, now = one.case.decision.outcome, one.decision.outcome
        digest = one.case.challenger.model.model_digest[:12]
        table.add_row(f"{one.case.at:%Y-%m-%d %H:%M}", digest, then, now, same)
    return table

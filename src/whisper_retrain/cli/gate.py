"""`whisper-retrain gate ...`: past decisions; imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from whisper_retrain.gate.policy import PRESETS, GatePolicy, load_policy
from whisper_retrain.history.cases import Replayed, load_cases, replay

gate_app = typer.Typer(no_args_is_help=True, help="Past decisions, and what the gate's eyes see.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@gate_app.callback()
def gate() -> None:
    """Past decisions, and what the gate's eyes see."""


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


@gate_app.command("safety")
def safety_command(
    pairs: Annotated[Path, typer.Argument(help='JSONL: {"id", "reference", "hypothesis"} a line.')],
    as_json: AsJson = False,
) -> None:
    """What a clinician would notice in pairs of texts: doses, sides, negations, drugs, ..."""
    from whisper_retrain.clinical import Names, find_harm
    from whisper_retrain.evaluation.lexicon import default_lexicon
    from whisper_retrain.evaluation.score_files import read_pairs

    names = Names(default_lexicon().tiers)
    for key, (reference, hypothesis) in read_pairs(pairs).items():
        findings = find_harm(reference, hypothesis, names)
        if as_json:
            shown = [{"kind": f.kind, "expected": f.expected, "got": f.got} for f in findings]
            typer.echo(json.dumps({"id": key, "findings": shown}, ensure_ascii=False))
        else:
            said = "; ".join(finding.said() for finding in findings)
            typer.echo(f"{key}: {said or 'nothing'}")
    if not as_json:
        typer.echo("not for clinical use")


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

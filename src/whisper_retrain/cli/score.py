"""`whisper-retrain score`: the gate's own figures of any two files; imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from whisper_retrain.evaluation.score_files import score_files


def score(
    refs: Annotated[Path, typer.Argument(help="References: JSONL with id and text.")],
    hyps: Annotated[Path, typer.Argument(help="Hypotheses: JSONL with the same ids.")],
    metric: Annotated[
        list[Path] | None,
        typer.Option(help="A metric module of `evaluate` (its file); may be given again."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score hypotheses against references with the gate's own figures."""
    figures = score_files(refs, hyps, metric or ())
    if as_json:
        typer.echo(json.dumps(figures, indent=1))
        return
    columns = ("", "rate", "N", "S", "D", "I", "recall")
    table = Table(*columns, title=f"{figures['utterances']} utterances, not for clinical use")
    others = figures.pop("metrics", {})
    for name, found in figures.items():
        if name != "utterances":
            parts = ("reference_length", "substitutions", "deletions", "insertions")
            numbers = [str(found[part]) for part in parts]
            table.add_row(name, _percent(found["rate"]), *numbers, _percent(found["recall"]))
    console = Console()
    console.print(table)
    for path, found in others.items():
        values = ", ".join(f"{name} {value}" for name, value in found.items())
        console.print(f"{path}: {values}", markup=False, highlight=False, soft_wrap=True)


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.2%}"

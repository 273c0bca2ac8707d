"""`whisper-retrain doctor`: the checks as a table; exit code 1 when something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from whisper_retrain.config import (
    BaseModelConfig,
    Columns,
    DatasetConfig,
    ReleaseConfig,
)
from whisper_retrain.data.places import source_at
from whisper_retrain.doctor.checks import CheckResult, CheckScope
from whisper_retrain.settings import load_settings

STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


def doctor_command(
    dataset: Annotated[str | None, typer.Option(help="Hub repo, folder or s3:// prefix.")] = None,
    preset: Annotated[str, typer.Option(help="Columns of a known dataset: paulmooney.")] = "none",
    audio_column: Annotated[str, typer.Option()] = "audio",
    reference_column: Annotated[str, typer.Option()] = "sentence",
    base_model: Annotated[str | None, typer.Option(help="Hub repo, with @ref if not main.")] = None,
    release: Annotated[str | None, typer.Option(help="Hub repo to publish to.")] = None,
) -> None:
    """Check services, credentials, dataset, base model and machine; change nothing."""
    from pydantic import ValidationError

    from whisper_retrain.doctor.run import run_checks

    try:
        columns = Columns(audio=audio_column, reference=reference_column)
        scope = CheckScope(
            dataset=_dataset(dataset, preset, columns) if dataset else None,
            base_model=_base_model(base_model) if base_model else None,
            release=ReleaseConfig(repo=release) if release else None,
        )
        settings = load_settings()
    except ValidationError as error:
        raise typer.BadParameter(str(error)) from error
    results = run_checks(scope, settings)
    _print_table(results)
    if any(result.status == "failed" for result in results):
        raise typer.Exit(1)


def _dataset(place: str, preset: str, columns: Columns) -> DatasetConfig:
    return DatasetConfig(sources=(source_at(place, preset=preset, columns=columns),))


def _base_model(name: str) -> BaseModelConfig:
    repo, _, ref = name.partition("@")
    return BaseModelConfig(repo=repo, ref=ref or "main")


def _print_table(results: Sequence[CheckResult]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for column in ("check", "status", "found"):
        table.add_column(column, overflow="fold")
    for one in results:
        remedy = f"\n[bold]remedy:[/] {escape(one.remedy)}" if one.remedy else ""
        style = STYLES[one.status]
        table.add_row(one.name, f"[{style}]{one.status}[/]", f"{escape(one.found)}{remedy}")
    Console().print(table)

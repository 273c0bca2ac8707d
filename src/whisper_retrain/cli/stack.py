"""`whisper-retrain stack ...`: the embedded stack from a shell."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from whisper_retrain.local import stack
from whisper_retrain.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    help="The embedded stack on this machine: Prefect, S3, Hub, webhook receiver.",
)

Dir = Annotated[
    Path | None, typer.Option("--dir", help="Folder of all its data.", show_default=".local")
]


def _folder(chosen: Path | None) -> Path:
    return chosen or load_settings().local_dir


@app.command("up")
def up_command(folder: Dir = None) -> None:
    """Start what is missing, broken or outdated; leave the rest alone."""
    _print_table(stack.up(_folder(folder), progress=typer.echo))


@app.command("down")
def down_command(folder: Dir = None) -> None:
    """Stop all of it, flow runs included; data stays."""
    stack.down(_folder(folder), progress=typer.echo)


@app.command("status")
def status_command(folder: Dir = None) -> None:
    """Show URL, health, version, pid and data size; exit code 1 unless all is up."""
    found = stack.status(_folder(folder))
    _print_table(found)
    if not found.is_up:
        raise typer.Exit(1)


@app.command("env")
def env_command(
    folder: Dir = None,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON object.")] = False,
) -> None:
    """Print the variables that point every client at the stack: eval "$(... stack env)"."""
    variables = stack.environment(_folder(folder))
    if as_json:
        typer.echo(json.dumps(variables, indent=1))
        return
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def _print_table(found: stack.Stack) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, title=f"Embedded stack in {found.local_dir}")
    table.title_justify = "left"
    for column in ("service", "health", "URL", "version", "pid"):
        table.add_column(column, overflow="fold", no_wrap=column == "URL")
    table.add_column("data", justify="right")
    for s in found.services:
        style = "green" if s.health == "up" else "red"
        pid = str(s.pid) if s.pid else ""
        size = f"{s.data_bytes / 2**20:.1f} MiB"
        table.add_row(s.title, f"[{style}]{s.health}[/]", s.url, s.version, pid, size)
    Console().print(table)

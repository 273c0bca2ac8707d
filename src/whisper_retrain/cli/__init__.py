"""The command line: `whisper-retrain ...`. Mounts the parts; knows nothing else.

Imports nothing heavy: each command imports what it needs when it is called.
"""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from dotenv import load_dotenv

from whisper_retrain.cli.app import app as web_app
from whisper_retrain.cli.doctor import doctor_command
from whisper_retrain.cli.gate import gate_app
from whisper_retrain.cli.retrain import retrain_command
from whisper_retrain.cli.score import score
from whisper_retrain.cli.stack import app as stack_app
from whisper_retrain.errors import WhisperRetrainError

commands = typer.Typer(
    name="whisper-retrain",
    no_args_is_help=True,
    add_completion=False,
    help="Keeps a Whisper model good: refresh, fine-tune, prove, publish.",
)
commands.add_typer(stack_app, name="stack")
commands.add_typer(gate_app, name="gate")
commands.add_typer(web_app, name="app")
commands.command("doctor")(doctor_command)
commands.command("score")(score)
commands.command("retrain")(retrain_command)


def app() -> None:
    """Entry point: errors that were raised on purpose are a message, not a traceback."""
    # The clients read their own variables (AWS_*, HF_*, ...) from the environment alone.
    load_dotenv(Path(".env"))
    try:
        commands()
    except WhisperRetrainError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    app()

"""`whisper-retrain retrain`: recordings of one's own through the whole chain, on this machine.

The chain is Prefect's, which the library does not know: it is triggered by a process of its own,
`python -m deployments.own_recordings`, in the environment of the embedded stack.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from whisper_retrain.errors import InputError

SHELL = "deployments.own_recordings"
OptionalColumn = Annotated[str | None, typer.Option(help="Guessed when left out.")]


def retrain_command(
    data: Annotated[
        str,
        typer.Option(
            help="A folder with a listing (metadata.csv), a .zip or .tar of one, s3://…, "
            "or a dataset repo (namespace/name) on the stack's Hub."
        ),
    ],
    release: Annotated[
        str | None, typer.Option(help="Hub repo to publish to; named for the data when left out.")
    ] = None,
    shadow: Annotated[
        bool,
        typer.Option(
            "--shadow", help="Train and report also where nothing can be decided; never promote."
        ),
    ] = False,
    audio_column: OptionalColumn = None,
    reference_column: OptionalColumn = None,
    speaker_column: OptionalColumn = None,
) -> None:
    """Retrain on recordings of your own with the demo's settings, on the embedded stack.

    Says first which columns and splits it takes, and what the test set can never decide.
    """
    from pydantic import ValidationError

    from whisper_retrain.data.listed import guess_columns, read_listing
    from whisper_retrain.data.places import source_at
    from whisper_retrain.local.own_recordings import OwnRecordings, release_name

    source = source_at(data)
    try:
        wish = OwnRecordings(
            source=source,
            release=release or release_name(source),
            columns={
                "audio": audio_column,
                "reference": reference_column,
                "speaker": speaker_column,
            },
            shadow=shadow,
        )
    except ValidationError as error:
        raise typer.BadParameter(str(error)) from error
    if source.kind == "folder":  # needs no service: said before any is started
        guess_columns(read_listing(source), wish.columns)
    raise typer.Exit(_in_the_stack([SHELL, wish.model_dump_json()]))


def _in_the_stack(module: list[str]) -> int:
    """Run a module of the checkout in the environment of the embedded stack; its exit code."""
    from whisper_retrain.local import stack
    from whisper_retrain.settings import load_settings

    if find_spec("deployments") is None:
        raise InputError(
            "the flows are not installed here, only the library is",
            where=sys.executable,
            expected="an editable install of a checkout",
            remedy="clone the repository, `make install`, and use .venv/bin/whisper-retrain",
        )
    folder = load_settings().local_dir
    stack.up(folder, progress=typer.echo)
    environment = os.environ | stack.environment(folder)
    return subprocess.run([sys.executable, "-m", *module], env=environment, check=False).returncode

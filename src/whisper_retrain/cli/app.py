"""`whisper-retrain app`: the web application, and its accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whisper_retrain.settings import load_settings

app = typer.Typer(help="The web application: try the champion, correct it, see how it came about.")

Accounts = Annotated[
    Path | None,
    typer.Option("--accounts", help="File of accounts.", show_default="app_accounts"),
]


@app.callback(invoke_without_command=True)
def serve_command(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(help="Address to bind to; any but loopback demands accounts.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to bind to.")] = 7860,
    accounts: Accounts = None,
) -> None:
    """Serve it until it is stopped; the environment says where S3 and the Hub are."""
    if context.invoked_subcommand is not None:
        return
    from whisper_retrain.app.server import AppConfig, serve
    from whisper_retrain.edges.hub import HubClient
    from whisper_retrain.edges.store import S3Store

    settings = load_settings()
    config = AppConfig(
        host=host,
        port=port,
        url=settings.app_url,
        accounts=accounts or settings.app_accounts,
        release=settings.app_release,
        examples=settings.app_examples,
        cache_dir=settings.cache_dir,
    )
    typer.echo(f"Web app: {settings.app_url or f'http://{host}:{port}'}")
    serve(config, S3Store(settings.store), HubClient())


@app.command("account")
def account_command(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.")],
    role: Annotated[str, typer.Option(help="listener, author or reviewer.")] = "listener",
    accounts: Accounts = None,
) -> None:
    """Add an account, or change its role and password."""
    from whisper_retrain.app.accounts import ROLES, save_account
    from whisper_retrain.errors import InputError

    path = accounts or load_settings().app_accounts
    known = next((one for one in ROLES if one == role), None)
    if path is None or known is None:
        raise InputError(
            "an account needs a file and a role",
            expected=f"--accounts FILE or WHISPER_RETRAIN_APP_ACCOUNTS, and {', '.join(ROLES)}",
            got=f"{path}, {role}",
        )
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    save_account(path, name, known, password)
    typer.echo(f"{name} is a {known}")

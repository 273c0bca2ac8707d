"""The server: pages and recorder in one application, and its process."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from whisper_retrain.app.accounts import Accounts
from whisper_retrain.app.calibrations import Calibrations
from whisper_retrain.app.correction_store import CorrectionStore
from whisper_retrain.app.desk import Desk
from whisper_retrain.app.examples import Examples
from whisper_retrain.app.known import KnownSpeechReader
from whisper_retrain.app.models import Models, Release
from whisper_retrain.app.services import Services
from whisper_retrain.app.uploads import MOST_BYTES
from whisper_retrain.config import DecodingConfig
from whisper_retrain.edges.hub import Hub
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.errors import InputError, WhisperRetrainError

STATIC = Path(__file__).parent / "static"
log = logging.getLogger("whisper_retrain.app")


@dataclass(frozen=True)
class AppConfig:
    """How the app is served."""

    host: str = "127.0.0.1"
    """Address to bind to."""
    port: int = 7860
    """TCP port."""
    url: str | None = None
    """The address that people open, where a proxy stands in front."""
    accounts: Path | None = None
    """The file of accounts; None: loopback only."""
    release: str | None = None
    """Repo whose champion is tried; None: the only one."""
    examples: str | None = None
    """Name of the dataset source whose validation recordings anybody may try."""
    cache_dir: Path = Path(".local/cache")
    """For models and what is uploaded."""
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    """As the gate decodes."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def build_services(config: AppConfig, store: ObjectStore, hub: Hub) -> Services:
    """Everything the pages need; raises InputError for an address that demands accounts."""
    public = [name for name in _hosts(config) if not is_loopback(name)]
    if config.accounts is None and public:
        raise InputError(
            "an address that others can reach demands accounts",
            where=", ".join(public),
            remedy="set WHISPER_RETRAIN_APP_ACCOUNTS to a file made with "
            "`whisper-retrain app account NAME --role reviewer`, or bind to 127.0.0.1",
        )
    from whisper_retrain.evaluation.transformers_runtime import load_transcriber

    folder = config.cache_dir / "app"
    release = Release(hub, store, config.release)
    load = partial(load_transcriber, decoding=config.decoding, device="auto")
    models = Models(hub, config.cache_dir / "models", load)
    return Services(
        store=store,
        hub=hub,
        release=release,
        models=models,
        desk=Desk(folder / "desk"),
        corrections=CorrectionStore(store),
        known=KnownSpeechReader(store, config.cache_dir),
        calibrations=Calibrations(store, hub, release, models, config.decoding, config.cache_dir),
        examples=Examples(store, release, config.examples, config.cache_dir),
        cache_dir=config.cache_dir,
        accounts=Accounts(config.accounts) if config.accounts else None,
    )


def build_app(config: AppConfig, services: Services) -> Any:
    """The ASGI application."""
    from fastapi import FastAPI
    from fastapi.staticfiles import StaticFiles
    from starlette.middleware.sessions import SessionMiddleware

    from whisper_retrain.app import champion_pages, correct_pages, sign_in_pages, try_pages
    from whisper_retrain.app.recorder_guard import RecorderGuard
    from whisper_retrain.app.security import Security

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        services.desk.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.services = services
    for pages in (try_pages, correct_pages, champion_pages, sign_in_pages):
        app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _answer_errors(app)
    app.add_middleware(
        SessionMiddleware,
        secret_key=secrets.token_hex(32),
        session_cookie="whisper_retrain",
        max_age=12 * 3600,
        same_site="strict",
        https_only=bool(config.url and config.url.startswith("https://")),
    )
    uploads = config.cache_dir.absolute() / "app" / "uploads"
    app.add_middleware(RecorderGuard, uploads=uploads)
    app.add_middleware(Security, hosts=_hosts(config))
    _mount_recorder(app, services, uploads)
    return app


def _answer_errors(app: Any) -> None:
    """Every refusal is a page with a sentence that says what to do."""
    from fastapi import Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import RedirectResponse
    from starlette.exceptions import HTTPException

    from whisper_retrain.app.web import refused

    def refused_by_page(request: Request, error: HTTPException) -> Response:
        if error.status_code == 401 and request.method == "GET":
            return RedirectResponse("/login", 303)
        return refused(request, str(error.detail), error.status_code)

    def nonsense(request: Request, error: RequestValidationError) -> Response:
        return refused(request, "The form was not filled in as meant. Go back and try again.")

    def failed(request: Request, error: WhisperRetrainError) -> Response:
        log.warning("%s: %s", type(error).__name__, error.what)
        remedy = error.remedy or "try again in a minute"
        return refused(request, f"{error.what.capitalize()}: {remedy}.", 503)

    app.add_exception_handler(HTTPException, refused_by_page)
    app.add_exception_handler(RequestValidationError, nonsense)
    app.add_exception_handler(WhisperRetrainError, failed)


def _mount_recorder(app: Any, services: Services, uploads: Path) -> None:
    """Gradio under /try/, for whoever is signed in; what it reads at import is set before."""
    shutil.rmtree(uploads, ignore_errors=True)
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(uploads),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    import gradio as gr
    from fastapi import Request

    from whisper_retrain.app.shell import build_shell
    from whisper_retrain.app.web import person_of

    def name_of(request: Request) -> str | None:
        # Gradio's own application asks; the services hang on ours.
        person = person_of(Request({**request.scope, "app": app}))
        return person.name if person else None

    gr.mount_gradio_app(
        app,
        build_shell(services),
        "/try",
        auth_dependency=name_of,
        run_history=False,
        footer_links=[],
        show_error=False,
        max_file_size=MOST_BYTES,
        enable_monitoring=False,
        theme=gr.themes.Base(font="system-ui", font_mono="ui-monospace"),
    )


def _hosts(config: AppConfig) -> set[str]:
    """Names under which the app may be asked for."""
    hosts = {config.host, "127.0.0.1", "localhost"}
    if config.url and (name := urlsplit(config.url).hostname):
        hosts.add(name)
    return hosts


def serve(config: AppConfig, store: ObjectStore, hub: Hub) -> None:
    """Run the server until it is told to stop."""
    import uvicorn

    services = build_services(config, store, hub)
    services.corrections.rebuild()
    app = build_app(config, services)
    # The access log would hold tokens and what people ask for.
    uvicorn.run(
        app,
        host=config.host,
        port=config.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )

"""The server as one ASGI application: all routes, and what applies to each request.

Knows which modules there are; the rules are theirs.
"""

import errno
import logging
import time
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loopback_hub import __version__, api, browse, pages, transfers, upload
from loopback_hub.answers import AnswerError, error_answer
from loopback_hub.calls import HubState, caller, repo_not_found

LOG = logging.getLogger("loopback_hub")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# A page on the web may point its own name at 127.0.0.1; it cannot choose another Host header.
LOOPBACK_HOSTS = ["127.0.0.1", "localhost"]


def create_app(hub: HubState) -> ASGIApp:
    """The application that serves one data folder."""
    app = Starlette(
        routes=[
            Route("/api/health", health),
            *api.ROUTES,
            *browse.ROUTES,
            *upload.ROUTES,
            *transfers.ROUTES,
            # ids without a namespace, such as `gpt2`: huggingface.co has some, this server none
            Route("/api/{kind}/{name}", unknown_repo),
            Route("/{name}/resolve/{rev}/{path:path}", unknown_repo),
            *pages.ROUTES,
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_HOSTS)],
        exception_handlers={AnswerError: error_answer, OSError: storage_error, 404: unsupported},
    )
    app.state.hub = hub
    return RawPaths(app)


def health(_request: Request) -> Response:
    """The server is up."""
    return JSONResponse({"status": "ok", "version": __version__})


def unknown_repo(request: Request) -> Response:
    """Answer for a repository that cannot exist here."""
    raise repo_not_found(caller(request))


def unsupported(request: Request, _error: Exception) -> Response:
    """A path that no route knows: say so, and name the one setting that clients forget."""
    message = f"The local Hub server does not support {request.method} {request.url.path}"
    if "/xet-" in request.url.path:
        message += ": set HF_HUB_DISABLE_XET=1 before huggingface_hub is imported"
        LOG.warning(message)
    return JSONResponse({"error": message}, 404, {"X-Error-Message": message})


def storage_error(request: Request, error: Exception) -> Response:
    """A full disk is 507, which the client does not retry; anything else is the server's fault."""
    if getattr(error, "errno", None) not in DISK_FULL:
        raise error
    LOG.error("storage error: %s", error)
    return error_answer(request, AnswerError(507, f"The Hub server cannot store this: {error}"))


class RawPaths:
    """Route on the path as it was sent, where a `%2F` separates nothing; log each request.

    The query is not logged: upload URLs carry their signature there.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status: Any = "no answer"
        started = time.monotonic()

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path = scope["raw_path"].decode("ascii")
        try:
            await self._app({**scope, "path": path}, receive, note_status)
        finally:
            if path != "/api/health":
                spent_ms = 1000 * (time.monotonic() - started)
                LOG.info("%s %s %s %.0f ms", scope["method"], path, status, spent_ms)

"""What of Gradio may be asked for: the routes that its page uses, and files that were uploaded.

Mounted in another application, Gradio 6.31 does not check that a file which a request names was
uploaded (`processing_utils._check_allowed` returns at once unless `launch` was called): any file of
the server could be read, and any address fetched by it. Here it is checked before Gradio is asked.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOUNT = "/try/"
UPLOAD = f"{MOUNT}gradio_api/upload"
ROUTES = tuple(
    MOUNT + route
    for route in (
        "assets/",
        "config",
        "gradio_api/file=",
        "gradio_api/heartbeat/",
        "gradio_api/info",
        "gradio_api/queue/data",
        "gradio_api/queue/join",
        "gradio_api/reset",
        "gradio_api/startup-events",
        "gradio_api/upload",
        "static/",
        "theme.css",
    )
)
MOST_BODY_BYTES = 64 * 2**10


class RecorderGuard:
    """Lets through what the page itself asks for."""

    def __init__(self, app: ASGIApp, uploads: Path) -> None:
        self._app, self._uploads = app, Path(os.path.realpath(uploads))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or not scope["path"].startswith(MOUNT):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if not path.startswith(ROUTES):
            await PlainTextResponse("There is no such page.", 404)(scope, receive, send)
            return
        if scope["method"] != "POST" or path == UPLOAD:
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None or not self._is_harmless(body):
            refusal = PlainTextResponse("Refused: record something or choose a file.", 403)
            await refusal(scope, receive, send)
            return
        await self._app(scope, _once(body, receive), send)

    def _is_harmless(self, body: bytes) -> bool:
        """Whether every file that a request names was uploaded."""
        try:
            named = list(_paths(json.loads(body or b"null")))
        except (ValueError, RecursionError):
            return False
        return all(
            isinstance(path, str) and Path(os.path.realpath(path)).is_relative_to(self._uploads)
            for path in named
        )


def _paths(value: Any) -> Any:
    """Whatever stands under the name `path`, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "path" and inner is not None:
                yield inner
            else:
                yield from _paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner)


async def _read(receive: Receive) -> bytes | None:
    """The body of a request; None when it is too long, or its sender has gone."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or len(body) > MOST_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return body


def _once(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read again."""
    left = [body]

    async def again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return again

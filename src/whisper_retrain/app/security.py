"""What every answer carries and every request must keep to, whatever page it is of.

Pure ASGI, since the queue of the pages is a stream.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        # Gradio's components set styles on elements.
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self' data:",
        # The recorder reads what it recorded from a blob.
        "connect-src 'self' blob:",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
)
"""A report is one file that needs nothing: no script, no request."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers then send the forms of these very pages with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MOST_FORM_BYTES = 64 * 2**10
"""Of a form; recordings go to Gradio's own upload, which counts for itself."""
UPLOADS = "/try/"
STATIC = ("/static/", "/try/assets/", "/try/static/")


class Security:
    """Adds the headers; refuses other hosts' names, and other sites' forms and scripts."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        complaint = self._complaint(scope["method"], scope["path"], Headers(scope=scope))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith(STATIC):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        if complaint:
            answer = PlainTextResponse(complaint, status_code=403)
            await answer(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)

    def _complaint(self, method: str, path: str, headers: Headers) -> str:
        """Why a request is refused; empty when it is not."""
        host = headers.get("host", "")
        if _name_of(f"//{host}") not in self._hosts:
            # A name of another site that resolves to this machine (DNS rebinding).
            return "Unknown host. Open the address that `whisper-retrain app` printed."
        origin = headers.get("origin")
        if method not in SAFE_METHODS and origin is not None and urlsplit(origin).netloc != host:
            return "Refused: the request comes from another site."
        if method not in SAFE_METHODS and headers.get("sec-fetch-site") == "cross-site":
            return "Refused: the request comes from another site."
        if method not in SAFE_METHODS and not path.startswith(UPLOADS):
            length = headers.get("content-length", "")
            if not length.isdigit() or int(length) > MOST_FORM_BYTES:
                return f"Refused: a form has at most {MOST_FORM_BYTES // 1024} KiB. Shorten it."
        return ""


def _name_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""

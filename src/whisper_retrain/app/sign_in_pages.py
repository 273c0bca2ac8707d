"""Signing in and out, where the app has accounts; and whether it is well."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse

from whisper_retrain.app.web import SESSION_NAME, Shared, page, person_of
from whisper_retrain.errors import InputError

router = APIRouter()
WRONG = "Name or password is wrong. After five wrong ones a name is locked for a minute."


@router.get("/login", response_class=HTMLResponse)
def form(request: Request) -> Response:
    """The form; whoever is signed in goes on to the first page."""
    if person_of(request) is not None:
        return RedirectResponse("/", 303)
    return page(request, "login.html.jinja", title="Sign in", complaint="")


@router.post("/login", response_class=HTMLResponse)
def sign_in(
    request: Request,
    services: Shared,
    name: Annotated[str, Form(max_length=64)] = "",
    password: Annotated[str, Form(max_length=1024)] = "",
) -> Response:
    """Begin a session, or say that name or password is wrong."""
    if services.accounts is None:
        return RedirectResponse("/", 303)
    try:
        person = services.accounts.sign_in(name.strip().lower(), password)
    except InputError as error:
        return _again(request, f"{error.what}: {error.remedy}.", 429)
    if person is None:
        return _again(request, WRONG, 401)
    request.session.clear()
    request.session[SESSION_NAME] = person.name
    return RedirectResponse("/", 303)


@router.post("/logout")
def sign_out(request: Request) -> Response:
    """End the session."""
    request.session.clear()
    return RedirectResponse("/login", 303)


@router.get("/health")
def health() -> Response:
    """For whoever watches the process."""
    return PlainTextResponse("ok")


def _again(request: Request, complaint: str, status: int) -> HTMLResponse:
    return page(request, "login.html.jinja", status=status, title="Sign in", complaint=complaint)

"""What all pages share: who is there, how a page is rendered, how a refusal is answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse

from whisper_retrain.app.accounts import LOCAL, Person
from whisper_retrain.app.corrections import Role
from whisper_retrain.app.services import Services
from whisper_retrain.release.notifications import NON_CLINICAL
from whisper_retrain.templating import render

TEMPLATES = Path(__file__).parent / "templates"
SESSION_NAME = "name"


def services_of(request: Request) -> Services:
    """The services that the server was built with."""
    return cast(Services, request.app.state.services)


def person_of(request: Request) -> Person | None:
    """Who is signed in; on loopback whoever sits there."""
    accounts = services_of(request).accounts
    if accounts is None:
        return LOCAL
    name = request.session.get(SESSION_NAME)
    return accounts.person(name) if isinstance(name, str) else None


def person_at_least(role: Role) -> Callable[[Request], Person]:
    """A dependency: somebody with this role, or an answer that says what is missing."""

    def check(request: Request) -> Person:
        person = person_of(request)
        if person is None:
            raise HTTPException(401, "Sign in first.")
        if not person.may(role):
            raise HTTPException(
                403,
                f"This needs the role {role}; {person.name} is a {person.role}. "
                "Ask whoever keeps the accounts.",
            )
        return person

    return check


Shared = Annotated[Services, Depends(services_of)]
Listener = Annotated[Person, Depends(person_at_least("listener"))]
Author = Annotated[Person, Depends(person_at_least("author"))]
Reviewer = Annotated[Person, Depends(person_at_least("reviewer"))]


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page; every value is escaped by the template engine."""
    html = render(
        TEMPLATES,
        template,
        notice=NON_CLINICAL,
        person=person_of(request),
        has_accounts=services_of(request).accounts is not None,
        here=request.url.path,
        **values,
    )
    return HTMLResponse(html, status_code=status)


def refused(request: Request, sentence: str, status: int = 422) -> HTMLResponse:
    """A page that says what was wrong and what to do."""
    return page(request, "refused.html.jinja", status=status, sentence=sentence, title="Not taken")

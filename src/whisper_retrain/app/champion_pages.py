"""Champions: how each came about, and what was turned down; reports for reviewers."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from whisper_retrain.app.champions import (
    History,
    lineage,
    read_card,
    read_history,
    read_report,
)
from whisper_retrain.app.security import REPORT_POLICY
from whisper_retrain.app.services import Services
from whisper_retrain.app.web import Listener, Reviewer, Shared, page
from whisper_retrain.release.scores import interval_text, percent_text, short
from whisper_retrain.report.figures import wer_history_svg

router = APIRouter()
REVISION = re.compile(r"[0-9a-f]{40}")
NO_SUCH = "There is no such record. Was the address cut off?"


@router.get("/champions", response_class=HTMLResponse)
def champions_page(request: Request, person: Listener, services: Shared) -> Response:
    """Every promotion and rollback, and every challenger that was turned down."""
    history = _history(services)
    roles = services.release.roles()
    return page(
        request,
        "champions.html.jinja",
        title="Champions",
        release=services.release.config,
        current=roles.get("champion"),
        promotions=history.promotions if history else (),
        turned_down=history.turned_down if history else (),
        plot=wer_history_svg(history.promotions[::-1]) if history else None,
        **_texts(),
    )


@router.get("/champions/{revision}", response_class=HTMLResponse)
def champion_page(revision: str, request: Request, person: Listener, services: Shared) -> Response:
    """One champion: its card, and its lineage walked backwards."""
    history = _history(services)
    found = history.champion(revision) if history and REVISION.fullmatch(revision) else None
    if history is None or found is None:
        raise HTTPException(404, NO_SUCH)
    evidence = history.evidence(found.decision_digest)
    return page(
        request,
        "champion.html.jinja",
        title=f"Champion {short(found.revision)}",
        promotion=found,
        evidence=evidence,
        revisions=lineage(services.store, evidence) if evidence else [],
        card=_markdown(read_card(services.hub, found, services.cache_dir)),
        hub_url=services.hub.url(found.repo, found.revision),
        **_texts(),
    )


@router.get("/decisions/{digest}", response_class=HTMLResponse)
def decision_page(digest: str, request: Request, person: Listener, services: Shared) -> Response:
    """One decision: outcome, rules, and the way to its report."""
    history = _history(services)
    evidence = history.evidence(digest) if history else None
    if history is None or evidence is None:
        raise HTTPException(404, NO_SUCH)
    promoted = [one for one in history.promotions if one.decision_digest == digest]
    return page(
        request,
        "decision.html.jinja",
        title=f"Decision {short(digest)}",
        evidence=evidence,
        decision=evidence.decision,
        promotion=promoted[-1] if promoted else None,
        may_read_report=person.may("reviewer"),
        **_texts(),
    )


@router.get("/reports/{digest}", response_class=HTMLResponse)
def report(digest: str, person: Reviewer, services: Shared) -> Response:
    """The report as it lies in S3; it holds references of the test set, hence reviewers only."""
    history = _history(services)
    retraining = history.retraining(digest) if history else None
    data = read_report(services.store, retraining) if retraining else None
    if data is None:
        raise HTTPException(404, NO_SUCH)
    return Response(
        data,
        media_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": REPORT_POLICY},
    )


def _history(services: Services) -> History | None:
    config = services.release.config
    return read_history(services.store, config) if config else None


def _texts() -> dict[str, Any]:
    return {"percent": percent_text, "interval": interval_text, "short": short}


def _markdown(text: str) -> str:
    """HTML of Markdown, in which HTML stays text and pictures are left out."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "linkify": False})
    return str(parser.enable("table").disable("image").render(text))

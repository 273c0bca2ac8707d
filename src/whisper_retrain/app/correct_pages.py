"""Correct: type what was really said, and judge what others have typed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from whisper_retrain.app.accounts import Person
from whisper_retrain.app.champions import champions_that_heard, read_history
from whisper_retrain.app.corrections import (
    CONSENT,
    Correction,
    Review,
    Verdict,
    Withdrawal,
    find_leak,
    refuse,
    refuse_text,
)
from whisper_retrain.app.desk import Entry
from whisper_retrain.app.marks import align
from whisper_retrain.app.services import Services
from whisper_retrain.app.try_pages import GONE, LONGEST_CORRECTED_S
from whisper_retrain.app.web import Author, Listener, Shared, page, refused
from whisper_retrain.config import ValidationBounds
from whisper_retrain.records import Promotion

router = APIRouter()
WITHDRAWN = "There is no such correction: it was withdrawn, or never sent."
TOO_LONG = (
    f"Whisper is trained on stretches of at most {LONGEST_CORRECTED_S:.0f} s: record a shorter one."
)


@router.get("/correct", response_class=HTMLResponse)
def overview(request: Request, person: Listener, services: Shared, sent: str = "") -> Response:
    """What can be corrected, what waits for a second pair of ears, what was accepted."""
    stored = services.corrections.load()
    rows = [(one, stored.standing(one)) for one in reversed(stored.items.values())]
    return page(
        request,
        "correct.html.jinja",
        title="Correct",
        entries=services.desk.of(person.name) if person.may("author") else [],
        longest_s=LONGEST_CORRECTED_S,
        rows=[(one, at) for one, at in rows if _may_see(person, one)],
        sent=stored.items.get(sent),
        may_correct=person.may("author"),
    )


@router.get("/correct/{token}", response_class=HTMLResponse)
def editor(token: str, request: Request, person: Author, services: Shared) -> Response:
    """The recording, its transcript to be edited, consent and pseudonym."""
    entry = _heard(token, person, services)
    if entry.decoded.speech.duration_s > LONGEST_CORRECTED_S:
        return refused(request, TOO_LONG)
    assert entry.transcription  # noqa: S101  # `_heard` saw to it
    return page(
        request,
        "editor.html.jinja",
        title="Correct the transcript",
        entry=entry,
        text=entry.transcription.champion.text,
        words=entry.transcription.champion.words,
        consent=CONSENT,
        next=_next_waiting(services, person, ""),
    )


@router.post("/correct/{token}")
def send(
    token: str,
    request: Request,
    person: Author,
    services: Shared,
    text: Annotated[str, Form()] = "",
    speaker: Annotated[str, Form()] = "",
    consent: Annotated[str, Form()] = "",
) -> Response:
    """Take a correction, or say why not; nothing is stored of one that is refused."""
    entry = _heard(token, person, services)
    text, speaker = " ".join(text.split()), speaker.strip()
    if refusal := refuse_text(text, speaker, consented=consent == "yes"):
        return refused(request, refusal.sentence)
    if not text:
        return refused(request, "The text is empty: type what was said.")
    assert entry.transcription  # noqa: S101  # `_heard` saw to it
    champion = entry.transcription.champion
    correction = Correction(
        audio_sha256=entry.decoded.speech.audio_sha256,
        duration_s=entry.decoded.speech.duration_s,
        text=text,
        speaker=speaker,
        author=person.name,
        consent=CONSENT,
        champion_repo=champion.model.repo,
        champion_revision=champion.model.revision,
        champion_text=champion.text,
        at=datetime.now(UTC),
    )
    speech = entry.decoded.speech
    if refusal := refuse(correction, speech, services.known(), ValidationBounds()):
        return refused(request, refusal.sentence)
    if not services.corrections.send(correction, entry.path.read_bytes()):
        return refused(request, "This very correction was sent before; it counts once.", 409)
    return RedirectResponse(f"/correct?sent={correction.id}", 303)


@router.get("/corrections/{correction_id}", response_class=HTMLResponse)
def judge(correction_id: str, request: Request, person: Author, services: Shared) -> Response:
    """Listen to a correction, and agree or not."""
    one = _stored(correction_id, person, services)
    stored = services.corrections.load()
    changes = align(one.champion_text.split(), one.text.split())
    return page(
        request,
        "judge.html.jinja",
        title="A correction",
        one=one,
        standing=stored.standing(one),
        reviews=stored.reviews.get(one.id, []),
        changes=changes,
        may_judge=person.may("reviewer") or person.name != one.author,
        may_withdraw=_may_withdraw(person, one),
        heard_by=_heard_by(one.audio_sha256, services),
        held_out=_is_held_out(one, services),
        next=_next_waiting(services, person, one.id),
    )


@router.get("/corrections/{correction_id}/audio.flac")
def audio(correction_id: str, person: Author, services: Shared) -> Response:
    """The recording of a correction."""
    flac = services.corrections.audio(_stored(correction_id, person, services))
    return Response(flac, media_type="audio/flac", headers={"Accept-Ranges": "none"})


@router.post("/corrections/{correction_id}/review")
def review(
    correction_id: str,
    person: Author,
    services: Shared,
    verdict: Annotated[Verdict, Form()],
) -> Response:
    """Say of a correction that it is right or wrong."""
    one = _stored(correction_id, person, services)
    if one.author == person.name and not person.may("reviewer"):
        raise HTTPException(403, "Somebody else has to listen to your own correction.")
    if verdict == "accept":
        _refuse_if_leaking(one, services)
    said = Review(
        correction=one.id,
        reviewer=person.name,
        role=person.role,
        verdict=verdict,
        at=datetime.now(UTC),
    )
    services.corrections.review(said)
    return RedirectResponse(f"/corrections/{one.id}", 303)


@router.post("/corrections/{correction_id}/withdraw", response_class=HTMLResponse)
def withdraw(correction_id: str, request: Request, person: Author, services: Shared) -> Response:
    """Take consent back: text and audio are deleted now; names who had heard it."""
    one = _stored(correction_id, person, services)
    if not _may_withdraw(person, one):
        raise HTTPException(403, "Only its author or a reviewer can withdraw a correction.")
    heard_by, held_out = _heard_by(one.audio_sha256, services), _is_held_out(one, services)
    services.corrections.withdraw(
        one,
        Withdrawal(
            correction=one.id,
            audio_sha256=one.audio_sha256,
            by=person.name,
            at=datetime.now(UTC),
        ),
    )
    return page(
        request,
        "withdrawn.html.jinja",
        title="Withdrawn",
        one=one,
        heard_by=heard_by,
        held_out=held_out,
    )


def _heard(token: str, person: Person, services: Services) -> Entry:
    entry = services.desk.get(token, person.name)
    if entry is None or entry.transcription is None:
        raise HTTPException(404, GONE)
    return entry


def _stored(correction_id: str, person: Person, services: Services) -> Correction:
    plausible = correction_id.isalnum() and len(correction_id) == 32
    one = services.corrections.find(correction_id) if plausible else None
    if one is None or not _may_see(person, one):
        raise HTTPException(404, WITHDRAWN)
    return one


def _may_see(person: Person, one: Correction) -> bool:
    return person.may("author") or one.author == person.name


def _may_withdraw(person: Person, one: Correction) -> bool:
    return person.may("reviewer") or one.author == person.name


def _is_held_out(one: Correction, services: Services) -> bool:
    """Whether it belongs to a frozen test set: it was there when that was made."""
    return one.audio_sha256 in services.known().test_audio


def _refuse_if_leaking(one: Correction, services: Services) -> None:
    """The test set may have come after the correction was sent."""
    if leak := find_leak(one, services.known()):
        raise HTTPException(422, leak.sentence)


def _next_waiting(services: Services, person: Person, after: str) -> Correction | None:
    """The next correction that waits for this person's ears, going round."""
    stored = services.corrections.load()
    waiting = [
        one
        for one in stored.items.values()
        if stored.standing(one).state == "waiting"
        and (person.may("reviewer") or one.author != person.name)
    ]
    later = [one for one in waiting if one.id > after and one.id != after]
    others = [one for one in waiting if one.id != after]
    return min(later or others, key=lambda one: one.id, default=None)


def _heard_by(audio_sha256: str, services: Services) -> list[Promotion]:
    config = services.release.config
    if config is None:
        return []
    history = read_history(services.store, config)
    return champions_that_heard(services.store, history, audio_sha256, services.cache_dir)

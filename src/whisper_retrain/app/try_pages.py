"""Try: the page with the recorder, the transcripts side by side, the files to download."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from whisper_retrain.app.calibration import Calibration, in_words
from whisper_retrain.app.desk import Entry
from whisper_retrain.app.downloads import FORMATS
from whisper_retrain.app.marks import mark
from whisper_retrain.app.services import Services
from whisper_retrain.app.transcription import ROLE_NAMES, Transcription
from whisper_retrain.app.web import Listener, Shared, page, person_of
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.lexicon import default_lexicon

router = APIRouter()
GONE = "This recording is gone: nothing is kept longer than half an hour. Record it again."
LONGEST_CORRECTED_S = 30.0


@router.get("/", response_class=HTMLResponse)
def try_page(request: Request, services: Shared) -> Response:
    """The recorder; what it hears appears below it."""
    if person_of(request) is None:
        return RedirectResponse("/login", 303)
    return page(
        request,
        "try.html.jinja",
        title="Try the champion",
        gradio=f"{str(request.base_url).rstrip('/')}/try/",
        assets=gradio_assets(),
        champion=services.release.roles().get("champion"),
    )


@router.get("/transcripts/{token}", response_class=HTMLResponse)
def transcript(
    token: str, request: Request, person: Listener, services: Shared, part: bool = False
) -> Response:
    """The transcripts of one recording; `part`: without the page around them."""
    entry = _entry(token, person.name, services)
    if entry.transcription is None:
        raise HTTPException(404, GONE)
    return page(
        request,
        "transcript_part.html.jinja" if part else "transcript.html.jinja",
        title="Transcript",
        entry=entry,
        may_correct=person.may("author"),
        too_long=entry.decoded.speech.duration_s > LONGEST_CORRECTED_S,
        **_shown(entry.transcription, services),
    )


@router.get("/transcripts/{token}/file.{ending}")
def download(token: str, ending: str, person: Listener, services: Shared) -> Response:
    """The transcript as txt, srt or json."""
    entry = _entry(token, person.name, services)
    if entry.transcription is None or ending not in FORMATS:
        raise HTTPException(404, GONE)
    content_type, write = FORMATS[ending]
    disposition = f'attachment; filename="transcript.{ending}"'
    return Response(
        write(entry.transcription),
        media_type=content_type,
        headers={"Content-Disposition": disposition},
    )


@router.get("/recordings/{token}.flac")
def recording(token: str, person: Listener, services: Shared) -> Response:
    """The recording itself, to be played."""
    return FileResponse(_entry(token, person.name, services).path, media_type="audio/flac")


def _entry(token: str, owner: str, services: Services) -> Entry:
    entry = services.desk.get(token, owner)
    if entry is None:
        raise HTTPException(404, GONE)
    return entry


def _shown(transcription: Transcription, services: Services) -> dict[str, Any]:
    """The transcripts with their marks, the champion's first."""
    lexicon = default_lexicon()
    champion = transcription.champion
    calibration = services.calibrations.get(champion.model)
    check_below = calibration.check_below if isinstance(calibration, Calibration) else None
    tiers: dict[str, None] = {}
    cards = []
    for role, hearing in transcription.hearings.items():
        is_champion = role == "champion"
        words = mark(
            hearing.words,
            lexicon,
            check_below if is_champion else None,
            None if is_champion else champion.words,
        )
        tiers |= dict.fromkeys(word.tier for word in words if word.tier)
        card = {"role": role, "name": ROLE_NAMES[role], "hearing": hearing, "words": words}
        card["differing"] = sum(word.difference != "equal" for word in words)
        card["factor"] = hearing.elapsed_s / max(transcription.speech.duration_s, 0.01)
        cards.append(card)
    return {
        "cards": cards,
        "speech": transcription.speech,
        "tiers": list(tiers),
        "doubts": in_words(calibration),
        "formats": list(FORMATS),
    }


@cache
def gradio_assets() -> dict[str, str]:
    """Path of Gradio's script and style sheet, as its own page names them."""
    text = files("gradio").joinpath("templates/frontend/index.html").read_text("utf-8")
    script = re.search(r'<script type="module"[^>]*src="\./(assets/[^"]+)"', text)
    style = re.search(r'<link rel="stylesheet"[^>]*href="\./(assets/[^"]+)"', text)
    if script is None or style is None:
        raise InputError("another Gradio than the one that is pinned", remedy="see constraints.txt")
    return {"script": f"/try/{script[1]}", "style": f"/try/{style[1]}"}

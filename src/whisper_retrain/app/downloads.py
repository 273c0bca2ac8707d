"""A transcript as a file: txt, srt or json. Pure. Each says that it is not for clinical use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from whisper_retrain.app.transcription import Transcription
from whisper_retrain.evaluation.transcriber import Word
from whisper_retrain.release.notifications import NON_CLINICAL

LONGEST_CUE_S = 6.0
LONGEST_CUE_CHARACTERS = 84
"""Two lines of 42, which subtitles keep to."""
PAUSE_S = 0.8
"""A pause of this length begins a new cue."""


def as_text(transcription: Transcription) -> str:
    """The champion's text under the notice, and which model wrote it."""
    champion = transcription.champion
    return f"{NON_CLINICAL}\nModel: {champion.model}\n\n{champion.text}\n"


def as_srt(transcription: Transcription) -> str:
    """The champion's words as subtitles; the first cue is the notice, half a second long."""
    cues = [(0.0, 0.5, NON_CLINICAL)]
    for words in group_cues(transcription.champion.words):
        text = " ".join(word.text.strip() for word in words)
        cues.append((words[0].start_s, words[-1].end_s, text))
    return "\n".join(
        f"{number}\n{_clock(start_s)} --> {_clock(max(end_s, start_s + 0.1))}\n{text}\n"
        for number, (start_s, end_s, text) in enumerate(cues, 1)
    )


def as_json(transcription: Transcription) -> str:
    """All transcripts with the words' times and probabilities."""
    return (
        json.dumps({"notice": NON_CLINICAL, **transcription.facts()}, ensure_ascii=False, indent=1)
        + "\n"
    )


def group_cues(words: Iterable[Word]) -> list[list[Word]]:
    """Words in cues that fit a screen; a pause or the end of a sentence begins a new one."""
    cues: list[list[Word]] = []
    for word in words:
        if cues and not _begins_new(cues[-1], word):
            cues[-1].append(word)
        else:
            cues.append([word])
    return cues


def _begins_new(cue: Sequence[Word], word: Word) -> bool:
    text = " ".join(one.text.strip() for one in (*cue, word))
    return (
        word.start_s - cue[-1].end_s >= PAUSE_S
        or word.end_s - cue[0].start_s > LONGEST_CUE_S
        or len(text) > LONGEST_CUE_CHARACTERS
        or cue[-1].text.rstrip().endswith((".", "?", "!"))
    )


def _clock(seconds: float) -> str:
    """62.5 -> "00:01:02,500"."""
    whole_ms = round(seconds * 1000)
    minutes, ms = divmod(whole_ms, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d},{ms % 1000:03d}"


FORMATS: dict[str, tuple[str, Callable[[Transcription], str]]] = {
    "txt": ("text/plain; charset=utf-8", as_text),
    "srt": ("application/x-subrip; charset=utf-8", as_srt),
    "json": ("application/json", as_json),
}
"""Ending -> content type and writer."""

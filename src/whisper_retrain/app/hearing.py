"""Lets the models hear a recording: the champion first, then those that it is compared with."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from whisper_retrain.app.models import Models, Release
from whisper_retrain.app.transcription import Hearing, ModelAt, ModelRole, Speech, Transcription
from whisper_retrain.errors import InputError, WhisperRetrainError
from whisper_retrain.evaluation.transcriber import Transcriber, Transcript, Word
from whisper_retrain.whisper_constants import CONTEXT_S

log = logging.getLogger("whisper_retrain.app")


def hear(samples: Any, speech: Speech, release: Release, models: Models) -> Iterator[Transcription]:
    """A transcription after each model that has heard the recording (float32, 16 kHz mono).

    A model that can't be had is left out, but for the champion. Raises InputError without one.
    """
    roles = release.roles()
    if not roles:
        raise InputError(
            "there is no champion yet", remedy="come back after the first retraining has promoted"
        )
    now = datetime.now(UTC)
    hearings: dict[ModelRole, Hearing] = {}
    for role, model in roles.items():
        same = [one for one in hearings.values() if one.model == model]
        try:
            hearings[role] = same[0] if same else _hear(samples, speech, model, models)
        except WhisperRetrainError as error:
            if role == "champion":
                raise
            log.warning("%s is left out: %s", role, type(error).__name__)
            continue
        yield Transcription(speech, dict(hearings), now)


def _hear(samples: Any, speech: Speech, model: ModelAt, models: Models) -> Hearing:
    with models.use(model) as transcriber:
        start_s = time.monotonic()
        try:
            found = _transcribe(transcriber, samples, speech, words=True)
            words = found.words
        except InputError:  # a model without alignment heads: no word has a time of its own
            found = _transcribe(transcriber, samples, speech, words=False)
            words = tuple(Word(text, 0.0, speech.duration_s, 1.0) for text in found.text.split())
        return Hearing(model, found.text, words, time.monotonic() - start_s)


def _transcribe(
    transcriber: Transcriber, samples: Any, speech: Speech, *, words: bool
) -> Transcript:
    if speech.duration_s > CONTEXT_S:
        (transcript,) = transcriber.transcribe_long([samples], words=words)
        return transcript
    return transcriber.transcribe([samples], words=words)[0]

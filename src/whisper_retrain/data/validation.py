"""Whether an utterance may be used; if not, why, with the figure and its bound.

Pure: works on what was measured, so that other bounds need no audio to be read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from whisper_retrain.config import ValidationBounds
from whisper_retrain.data.recordings import Recording
from whisper_retrain.data.text import Repair, fold_phrase

CountLabelIds = Callable[[str], int]
# Start of transcript, language, task, no-timestamps, end of text.
SPECIAL_LABEL_IDS = 5
# English takes 3 to 5 bytes a label id and drug names about 2.5; nobody speaks below 2.
BYTES_PER_LABEL_ID = 2
# What a person who has listened may overrule; the rest can't be trained on whoever says so.
OVERRULABLE = frozenset({"too-short", "silent", "clipped", "mojibake", "implausible-speaking-rate"})


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One row of the quarantine table."""

    utterance: str
    """source/id."""
    source: str
    """Name of the source."""
    reason: str
    """The bound that was broken, in a word."""
    figure: str
    """What was measured, with its unit."""
    bound: str
    """What it was held against."""
    speaker: str | None = None
    """None: unknown."""
    reference: str | None = None
    """As the source has it."""
    audio_sha256: str | None = None
    """None where there is no audio."""


def quarantine(recording: Recording, reason: str, figure: object, bound: object) -> Quarantined:
    """A row of the quarantine table for a recording."""
    return Quarantined(
        utterance=recording.key,
        source=recording.source,
        reason=reason,
        figure=str(figure),
        bound=str(bound),
        speaker=recording.speaker,
        reference=recording.reference,
        audio_sha256=recording.audio_sha256,
    )


def validate(
    recording: Recording,
    repair: Repair,
    bounds: ValidationBounds,
    count: CountLabelIds,
    *,
    overruled: bool = False,
) -> Quarantined | None:
    """The first bound that the utterance breaks, or None.

    `overruled`: a person has listened and wants it kept; then only what can't be used counts.
    """
    faults = _all_faults(recording, repair, bounds, count)
    return next((f for f in faults if not (overruled and f.reason in OVERRULABLE)), None)


def _all_faults(
    recording: Recording, repair: Repair, bounds: ValidationBounds, count: CountLabelIds
) -> Iterator[Quarantined]:
    if recording.audio_sha256 is None:
        reason, _, detail = (recording.failure or "undecodable").partition(": ")
        yield quarantine(recording, reason, detail or "no audio", "a recording")
        return
    yield from _audio_faults(recording, bounds)
    yield from _reference_faults(recording, repair, bounds, count)


def _audio_faults(recording: Recording, bounds: ValidationBounds) -> Iterator[Quarantined]:
    duration_s = recording.duration_s
    if duration_s < bounds.min_duration_s:
        yield quarantine(recording, "too-short", f"{duration_s:.3f} s", bounds.min_duration_s)
    if duration_s > bounds.max_duration_s or recording.shard is None:
        yield quarantine(recording, "too-long", f"{duration_s:.3f} s", bounds.max_duration_s)
    if recording.level_dbfs < bounds.min_level_dbfs:
        level = f"{recording.level_dbfs:.1f} dBFS"
        yield quarantine(recording, "silent", level, bounds.min_level_dbfs)
    if recording.clipped_share > bounds.max_clipped_share:
        share = f"{recording.clipped_share:.3f}"
        yield quarantine(recording, "clipped", share, bounds.max_clipped_share)


def _reference_faults(
    recording: Recording, repair: Repair, bounds: ValidationBounds, count: CountLabelIds
) -> Iterator[Quarantined]:
    if recording.reference is None:
        yield quarantine(recording, "reference-not-text", "none", "text")
        return
    letters = len(fold_phrase(repair.text))
    if letters == 0:
        yield quarantine(recording, "empty-reference", "0 letters", "1 letter")
        return
    if repair.mojibake:
        yield quarantine(recording, "mojibake", repair.text[:80], "text that can be decoded")
    label_ids = count(repair.text)
    if label_ids > bounds.max_label_ids:
        yield quarantine(recording, "too-many-label-ids", label_ids, bounds.max_label_ids)
    rate = letters / recording.duration_s
    if not bounds.min_characters_per_s <= rate <= bounds.max_characters_per_s:
        bound = f"{bounds.min_characters_per_s} to {bounds.max_characters_per_s}"
        yield quarantine(recording, "implausible-speaking-rate", f"{rate:.1f} characters/s", bound)


def label_id_counter(tokenizer: str | None) -> CountLabelIds:
    """Counts label ids with a tokenizer.json, or estimates them from above by bytes."""
    if tokenizer is None:
        return lambda text: len(text.encode()) // BYTES_PER_LABEL_ID + SPECIAL_LABEL_IDS
    from tokenizers import Tokenizer

    encode = Tokenizer.from_file(tokenizer).encode
    return lambda text: len(encode(text, add_special_tokens=False).ids) + SPECIAL_LABEL_IDS

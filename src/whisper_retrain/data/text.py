"""References as text: what is repaired, and the folding by which two phrases are the same.

Knows nothing of audio. The folding is for finding equal phrases (leakage), not for scoring: the
normalizer that scores is another one and may change without moving an utterance between splits.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

FOLD_VERSION = "1"
# Many speakers say one phrase: the real dataset has 700 phrases in 6,661 utterances.
CACHED_TEXTS = 16_384
# What only a wrong decoding writes: UTF-8 read byte by byte, control and replacement characters.
MOJIBAKE = re.compile(
    "[ÃÂâ][\u0080-\u00bf€™œžŸ‚ƒ„…†‡ˆ‰Š‹Œ]|â€|\ufffd|[a-z]√[\u00a0-\u00ff¥∂∫]|‚Ä|[\u0080-\u009f]"
)
# No English word goes on with an accented capital: the decoding that wrote it is the wrong one.
IMPLAUSIBLE = re.compile("[a-z][À-ÞŸŒ]")
# What a wrong decoding of UTF-8 or of a Mac text came out as; the first that undoes it wins.
WRONG_DECODINGS = (("cp1252", "utf-8"), ("latin-1", "utf-8"), ("mac_roman", "utf-8"))
# "doesn√ït": the Mac apostrophe (0xD5) was read as Latin-1, stored as UTF-8, read as Mac Roman.
TWICE_WRONG = (("mac_roman", "utf-8", "latin-1", "mac_roman"),)
PLAIN_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"'})


@dataclass(frozen=True, slots=True)
class Repair:
    """A cleaned reference, and what was done to it ("" when nothing)."""

    text: str
    """The cleaned reference."""
    notes: tuple[str, ...] = ()
    """What was done to it."""
    mojibake: bool = False
    """Whether it holds what could not be undone."""


@lru_cache(maxsize=CACHED_TEXTS)
def fold_phrase(text: str) -> str:
    """The text without case, width, punctuation and extra blanks.

    "My cough, it's heavy." and "my cough its heavy" are one phrase.
    """
    text = unicodedata.normalize("NFKC", text).translate(PLAIN_QUOTES).casefold()
    kept = "".join(c if c.isalnum() or c.isspace() else "" if c == "'" else " " for c in text)
    return " ".join(kept.split())


@lru_cache(maxsize=CACHED_TEXTS)
def repair_reference(text: str) -> Repair:
    """Undo what can be undone: mojibake, line breaks, odd blanks; say what was undone."""
    notes: list[str] = []
    if "\n" in text.strip() or "\r" in text.strip():
        notes.append("multi-line")
    broken = bool(MOJIBAKE.search(text))
    if broken:
        repaired = undo_mojibake(text)
        if repaired is not None:
            text, broken = repaired, False
            notes.append("mojibake-repaired")
    cleaned = " ".join(unicodedata.normalize("NFC", text).split())
    return Repair(cleaned, tuple(notes), broken)


def undo_mojibake(text: str) -> str | None:
    """The text as it was before a wrong decoding; None where that can't be told."""
    for chain in (*WRONG_DECODINGS, *TWICE_WRONG):
        candidate: str | None = text
        for encode_as, decode_as in zip(chain[::2], chain[1::2], strict=True):
            candidate = _redecoded(candidate, encode_as, decode_as)
        if candidate is not None and _is_plausible(candidate):
            return candidate.translate(PLAIN_QUOTES)
    return None


def _is_plausible(text: str) -> bool:
    return not MOJIBAKE.search(text) and not IMPLAUSIBLE.search(text)


def _redecoded(text: str | None, encode_as: str, decode_as: str) -> str | None:
    try:
        return None if text is None else text.encode(encode_as).decode(decode_as)
    except UnicodeError:
        return None

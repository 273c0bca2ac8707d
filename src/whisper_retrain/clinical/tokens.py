"""A text as tokens of the clinical view: as it was written, without any normalizer.

Knows nothing of medicine: signs, brackets, decimals, hyphens and abbreviations as they stand.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

_VULGAR = {"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "⅛": " 1/8"}
_PLAIN = str.maketrans({"’": "'", "‘": "'", "`": "'", "−": "-", "–": "-", "—": " ", "×": "x"})
_TOKEN = re.compile(
    r"(?P<dotted>(?<![^\W\d_])(?:[^\W\d_]\.){2,}(?:[^\W\d_](?![^\W\d_]))?)"
    r"|(?P<clock>\d{1,2}:\d{2}(?!\d))"
    r"|(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d*\.\d+|\d+)(?:st|nd|rd|th)?"
    r"|(?P<word>[^\W\d_]+(?:'[^\W\d_]+)*)"
    r"|(?P<sign>[<>≤≥/+%°-])"
    r"|(?P<stop>[.,;:!?]+)"
)


class Token(NamedTuple):
    """A piece of a text with its meaning. A tuple, since a text makes many of them."""

    kind: str
    """What it is: word, number, quantity, cue, side, frequency, ..."""
    value: str
    """Its meaning in one form for all spellings."""
    text: str
    """As it was written, in lower case."""

    @property
    def key(self) -> str:
        """What is aligned: one string without a blank."""
        return f"{self.kind}:{self.value}".replace(" ", "_")


def raw_tokens(text: str) -> list[Token]:
    """Words, numbers, signs and stops of a text, in order."""
    for sign, fraction in _VULGAR.items():
        text = text.replace(sign, fraction)
    text = unicodedata.normalize("NFKC", text).lower().translate(_PLAIN).replace("μg", "mcg")
    found: list[Token] = []
    end = -1
    for match in _TOKEN.finditer(text):
        glued = match.start() == end
        end = match.end()
        found += _tokens_of(match, text, glued, found)
    return found


def _tokens_of(match: re.Match[str], text: str, glued: bool, before: list[Token]) -> list[Token]:
    kind, written = str(match.lastgroup), match.group()
    if match["number"] is not None:
        digits = match["number"].replace(",", "")
        if len(digits) == 4 and digits[0] == "0":  # a clock: 0800
            digits = digits[:2] if digits.endswith("00") else digits
        return [Token("number", digits.lstrip("0") or "0", written)]
    if kind == "dotted":
        return [Token("word", written.replace(".", ""), written)]
    if kind == "clock":
        hour, minute = written.split(":")
        value = str(int(hour)) if minute == "00" else f"{int(hour)}{minute}"
        return [Token("number", value, written)]
    if kind == "sign" and written == "-":
        return _hyphen(match, text, glued, before)
    if kind == "word":
        return [Token("word", written, written)]
    return [Token(kind, written, written)]


def _hyphen(match: re.Match[str], text: str, glued: bool, before: list[Token]) -> list[Token]:
    """A minus before a number, "to" between two numbers, and nothing between words."""
    follows = text[match.end() : match.end() + 2]
    number = follows[:1].isdigit() or (follows[:1] == "." and follows[1:].isdigit())
    if not number:
        return []
    if before and before[-1].kind == "number":
        return [Token("word", "to", "-")]
    return [] if glued else [Token("word", "minus", "-")]

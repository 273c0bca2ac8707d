"""A text as a clinician reads it: numbers, doses, sides, negations, codes, names, in one form each.

Made from the text itself and not from the normalizer's output, which rewrites decimals, drops what
stands in brackets and takes "mm" for a hesitation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from whisper_retrain.clinical.amounts import with_amounts, with_clock_halves
from whisper_retrain.clinical.english import English, english
from whisper_retrain.clinical.frequencies import with_frequencies
from whisper_retrain.clinical.numbers import SPOKEN, with_numbers
from whisper_retrain.clinical.spelling import reversed_stem, spelling
from whisper_retrain.clinical.tokens import Token, raw_tokens

_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8"}
_ROMAN |= {"ix": "9", "x": "10", "xi": "11", "xii": "12"}
_ENDINGS = {"re": "are", "m": "am", "ve": "have", "ll": "will"}
_ROMAN_NUMERAL = re.compile(r"(i{1,3}|iv|vi{0,3}|ix|xi{0,2})([abc]?)")


@lru_cache(maxsize=65_536)
def clinical_view(text: str) -> tuple[Token, ...]:
    """The English view of a text; equal views mean the same to a clinician."""
    words = english()
    tokens = _expanded(raw_tokens(text), words)
    tokens = _with_phrases(_with_roman(tokens, words), words)
    tokens = with_clock_halves(with_numbers(tokens))
    tokens = with_frequencies(with_amounts(tokens, words), words)
    tokens = _with_prefixes(_without_fillers(tokens, words), words)
    return tuple(_named(tokens, words))


def _expanded(tokens: Sequence[Token], words: English) -> list[Token]:
    """Contractions in full, possessives without their ending."""
    found: list[Token] = []
    for token in tokens:
        value = token.value
        if token.kind != "word":
            found.append(token)
        elif found and found[-1].text == value and value not in SPOKEN and len(value) > 1:
            continue  # said twice: "my my left left knee"
        elif value in words.contractions:
            found += [Token("word", part, value) for part in words.contractions[value]]
        elif value.endswith("n't"):
            found += [Token("word", part, value) for part in (value[:-3], "not")]
        elif value == "o'clock":
            found.append(Token("word", "oclock", value))
        elif "'" in value:
            word, _, ending = value.partition("'")
            found.append(Token("word", word, value))
            if ending in _ENDINGS:
                found.append(Token("word", _ENDINGS[ending], value))
        else:
            found.append(token)
    return found


def _with_roman(tokens: Sequence[Token], words: English) -> list[Token]:
    """Numerals of types, stages and nerves in digits; "IIA" as its number and its letter."""
    found: list[Token] = []
    for token in tokens:
        before = found[-1].value if found else ""
        numeral = _ROMAN_NUMERAL.fullmatch(token.value)
        scored = before == "/" and len(found) > 1 and found[-2].kind == "number"  # "grade II/VI"
        if numeral and (scored or {before, before.removesuffix("s")} & words.roman):
            found.append(Token("number", _ROMAN[numeral[1]], token.text))
            found += [Token("word", letter, letter) for letter in numeral[2]]
        else:
            found.append(token)
    return found


def _with_phrases(tokens: Sequence[Token], words: English) -> list[Token]:
    """Codes and idioms of one or several words as one token each."""
    found: list[Token] = []
    at = 0
    while at < len(tokens):
        for phrase, kind, meaning in words.phrases.get(tokens[at].value, ()):
            span = tokens[at : at + len(phrase)]
            if tuple(token.value for token in span) == phrase and _fits(phrase, found):
                found.append(Token(kind, meaning, " ".join(token.text for token in span)))
                at += len(phrase)
                break
        else:
            found.append(tokens[at])
            at += 1
    return found


def _fits(phrase: tuple[str, ...], before: Sequence[Token]) -> bool:
    """ "im" may be "I'm" and "pr" a name: routes they are after an amount or what is given."""
    if phrase not in (("im",), ("sc",), ("sq",), ("pr",)):
        return True
    earlier = before[-1] if before else None
    given = ("given", "give", "injection", "dose", "once", "daily")
    return earlier is not None and (
        earlier.kind in ("number", "frequency")
        or earlier.value in english().units
        or earlier.value in given
    )


def _without_fillers(tokens: Sequence[Token], words: English) -> list[Token]:
    """No hesitations; "no" before a pronoun or at the end answers and negates nothing."""
    spoken = [
        token
        for at, token in enumerate(tokens)
        if not _is_filler(token, words)
        and not (token.kind == "stop" and at and _is_filler(tokens[at - 1], words))
    ]
    found: list[Token] = []
    for at, token in enumerate(spoken):
        if token.kind == "word" and _answers(spoken, at, words):
            found.append(Token("reply", token.value, token.text))
            continue
        agreed = token.kind == "word" and token.value in ("yes", "yeah", "yep")
        found.append(Token("reply", "yes", token.text) if agreed else token)
    return found


def _answers(tokens: Sequence[Token], at: int, words: English) -> bool:
    """Whether "no" or "right" is said to somebody and not of something."""
    before = tokens[at - 1] if at else None
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    stopped = after is None or after.kind == "stop"
    addressed = stopped or (after is not None and after.value in words.pronouns)
    alone = before is None or before.kind == "stop"
    return addressed and (tokens[at].value == "no" or (tokens[at].value == "right" and alone))


def _is_filler(token: Token, words: English) -> bool:
    return token.kind == "word" and (token.value in words.fillers or token.value == "mm")


def _with_prefixes(tokens: Sequence[Token], words: English) -> list[Token]:
    """A prefix and its word as one; a prefix that turns a word round as a cue before it."""
    joined: list[Token] = []
    for token in tokens:
        last = joined[-1] if joined else None
        if last and last.kind == token.kind == "word" and _is_prefix_of(last, token, words):
            text = f"{last.text} {token.text}"
            joined[-1] = Token("word", last.value + token.value, text)
        else:
            joined.append(token)
    found: list[Token] = []
    for token in joined:
        stem = reversed_stem(token.value) if token.kind == "word" else None
        if token.kind == "word" and (token.value in words.cues_before or token.value == "non"):
            found.append(Token("cue", "no", token.text))
        elif stem is not None:
            found += [Token("cue", "no", token.text), Token("word", stem, token.text)]
        else:
            found.append(token)
    return found


def _is_prefix_of(one: Token, token: Token, words: English) -> bool:
    """Whether a word is split off; not "in" or "a", which are words."""
    if one.value in words.joined:
        return True
    return (
        one.value in ("un", "ir", "dis", "il")
        and reversed_stem(one.value + token.value) is not None
    )


def _named(tokens: Sequence[Token], words: English) -> list[Token]:
    """Sides, letters, dates, and each word in the spelling that stands for all of its kind."""
    found: list[Token] = []
    for at, token in enumerate(tokens):
        if token.kind != "word":
            found.append(token)
            continue
        before = found[-1] if found else None
        if before and before.value == "is" and len(found) > 1:
            before = found[-2]  # "blood type is A"
        after = tokens[at + 1].value if at + 1 < len(tokens) else ""
        kind, value = _meaning(token.value, before, after, words)
        found.append(Token(kind, value, token.text))
    return found


def _meaning(value: str, before: Token | None, after: str, words: English) -> tuple[str, str]:
    if value in ("left", "right"):
        return "side", value
    if value.removesuffix("ly") in ("bilateral", "unilateral"):
        return "side", value.removesuffix("ly")
    if value in words.months and (value not in ("may", "march") or _dated(before, after)):
        return "date", value
    if value.removesuffix("s") in words.weekdays:
        return "date", value.removesuffix("s")
    if len(value) == 1 and (value not in "aio" or _is_lettered(before, words)):
        return "letter", value
    return "word", spelling(value)


def _is_lettered(before: Token | None, words: English) -> bool:
    """Whether a letter is to be expected: after "hepatitis", or after another letter."""
    if before is None:
        return False
    named = {before.value, before.value.removesuffix("s")} & words.letters
    return before.kind == "letter" or bool(named)


def _dated(before: Token | None, after: str) -> bool:
    earlier = before.value if before else ""
    return (
        after.replace(".", "").isdigit()
        or earlier in ("in", "of", "since", "until", "last", "next", "early", "late")
        or (before is not None and before.kind == "number")
    )

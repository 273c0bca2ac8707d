"""Amounts: a number with its unit, in the base unit of what it measures. Pure.

"5 to 10 mg" are two amounts, "120 over 80" is one value, "mg per kg" keeps what it is per.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from whisper_retrain.clinical.english import English, Unit
from whisper_retrain.clinical.frequencies import TIME_UNITS
from whisper_retrain.clinical.numbers import plain
from whisper_retrain.clinical.tokens import Token

_ARTICLES = ("a", "an", "one")
_SCALES = {"c": "celsius", "celsius": "celsius", "centigrade": "celsius"}
_SCALES |= {"f": "fahrenheit", "fahrenheit": "fahrenheit"}
"""Degrees that say on which scale: kept as a word after the amount."""
_BESIDE = {"over": ">", "under": "<"}


def with_clock_halves(tokens: Sequence[Token]) -> list[Token]:
    """Morning and afternoon after a time; "o'clock" says nothing more."""
    found: list[Token] = []
    for token in tokens:
        after_number = bool(found) and found[-1].kind == "number"
        if after_number and token.value in ("am", "pm"):
            found.append(Token("clock", token.value, token.text))
        elif not (after_number and token.value == "oclock"):
            found.append(token)
    return found


def with_amounts(tokens: Sequence[Token], words: English) -> list[Token]:
    """The tokens with every number and its unit as one token of kind `quantity`."""
    found: list[Token] = []
    for at, token in enumerate(tokens):
        unit = words.units.get(token.value) if token.kind in ("word", "sign") else None
        follows = tokens[at + 1].kind if at + 1 < len(tokens) else ""
        if unit is not None:
            found = _with_unit(found, token, unit, words)
        elif token.value in ("/", "over", "under"):
            found += _between(found, token, follows)
        elif token.kind == "number" and _ends_in_over(found):
            above = found[-2]
            value, text = f"{above.value}/{token.value}", f"{above.text}/{token.text}"
            found[-2:] = [Token("number", value, text)]
        elif token.kind != "sign" or token.value not in "+-":
            found.append(token)
    return found


def _with_unit(found: list[Token], token: Token, unit: Unit, words: English) -> list[Token]:
    """What was found, and a unit: of the number before it, or a word of its own."""
    before, last = found[:-1], found[-1] if found else None
    text = f"{last.text} {token.text}" if last else token.text
    free = token.value not in words.after_number
    if last and _is_measured(last, unit):
        return [*before, last._replace(text=text), *_scale(token)]
    if last and last.kind == "number":
        amount = Token("quantity", _amount(last.value, unit), text)
        return [*_spread_over_range([*before, amount], unit), *_scale(token)]
    if last and last.value in _ARTICLES and last.kind == "word" and free:
        return [*before, Token("quantity", _amount("1", unit), token.text)]
    if last and last.value == "per":
        if unit.name in TIME_UNITS:
            return [*found, Token("unit", unit.name, token.text)]
        return [*before, Token("rate", f"per {unit.name}", text)]
    return [*found, Token("unit", unit.name, token.text) if free else token]


def _scale(token: Token) -> list[Token]:
    scale = _SCALES.get(token.value)
    return [Token("word", scale, scale)] if scale else []


def _amount(number: str, unit: Unit) -> str:
    return f"{plain(Decimal(number) * unit.size)} {unit.dimension}"


def _is_measured(token: Token, unit: Unit) -> bool:
    """Whether a unit says nothing more of an amount: of a blood pressure, or degrees twice."""
    return (token.kind == "number" and "/" in token.value) or (
        unit.dimension == "degree" and token.value.endswith(" degree")
    )


def _spread_over_range(found: list[Token], unit: Unit) -> list[Token]:
    """In "5 to 10 mg" the first number has the unit too."""
    if len(found) > 2 and found[-2].value in ("to", "or") and found[-3].kind == "number":
        first = found[-3]
        if "/" not in first.value:
            found[-3] = Token("quantity", _amount(first.value, unit), first.text)
    return found


def _between(found: Sequence[Token], token: Token, follows: str) -> list[Token]:
    """A slash, "over" or "under": between two numbers, before a number, or between units."""
    counted = bool(found) and found[-1].kind == "number"
    if follows == "number" and counted and token.value != "under":
        return [Token("word", "over", token.text)]
    if token.value == "/":
        return [Token("word", "per", token.text)]
    if follows == "number":
        return [Token("comparison", _BESIDE[token.value], token.text)]
    return [token]


def _ends_in_over(found: Sequence[Token]) -> bool:
    """Whether "120 over" stands at the end: a blood pressure or a score, one value."""
    return len(found) > 1 and found[-1].value == "over" and found[-2].kind == "number"

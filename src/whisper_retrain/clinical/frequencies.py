"""How often: "three times a day", "3x daily", "every 8 hours" and "q8h" as one token each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from whisper_retrain.clinical.english import English
from whisper_retrain.clinical.numbers import plain
from whisper_retrain.clinical.tokens import Token

TIME_UNITS = frozenset({"second", "minute", "hour", "day", "week", "month", "year"})
_TIMES = {"once": "1", "twice": "2", "thrice": "3"}
_TIMES_OF_DAY = frozenset({"morning", "evening", "night", "bedtime"})
_PER = ("a", "an", "per", "each", "every")
_ADVERBS = {
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    "hourly": "hour",
    "yearly": "year",
}


def with_frequencies(tokens: Sequence[Token], words: English) -> list[Token]:
    """ "three times a day", "3x daily", "every 8 hours", "q8h" as one token each."""
    found: list[Token] = []
    at = 0
    while at < len(tokens):
        taken = (
            _times_per(tokens, at, words) or _every(tokens, at, words) or _per(tokens, at, found)
        )
        if taken:
            value, end = taken
            if value == "1/day" and end < len(tokens) and tokens[end].value in _TIMES_OF_DAY:
                value, end = tokens[end].value, end + 1
            found.append(Token("frequency", value, " ".join(one.text for one in tokens[at:end])))
            at = end
        else:
            found.append(tokens[at])
            at += 1
    return found


def _value(tokens: Sequence[Token], at: int) -> str:
    return tokens[at].value if at < len(tokens) else ""


def _time_unit(tokens: Sequence[Token], at: int, words: English) -> str | None:
    """The unit of time at a place: the word, or the token that it became."""
    if at < len(tokens):
        token = tokens[at]
        unit = words.units.get(token.text) if token.kind != "number" else None
        name = token.value if token.kind == "unit" else unit.name if unit else ""
        return name if name in TIME_UNITS else None
    return None


def _times_per(tokens: Sequence[Token], at: int, words: English) -> tuple[str, int] | None:
    if _value(tokens, at) in _TIMES:
        count, end = _TIMES[_value(tokens, at)], at + 1
    elif tokens[at].kind == "number" and _value(tokens, at + 1) in ("times", "time", "x"):
        count, end = tokens[at].value, at + 2
    else:
        return None
    if _value(tokens, end) in _ADVERBS:
        return f"{count}/{_ADVERBS[_value(tokens, end)]}", end + 1
    if (
        end < len(tokens)
        and tokens[end].kind == "frequency"
        and tokens[end].value in ("night", "morning")
    ):
        return tokens[end].value, end + 1
    if end < len(tokens) and tokens[end].kind == "quantity":  # "a day" has become an amount
        unit = _time_unit(tokens, end, words)
        return (f"{count}/{unit}", end + 1) if unit else None
    start = end + 1 if _value(tokens, end) in _PER else end
    unit = _time_unit(tokens, start, words)
    return (f"{count}/{unit}", start + 1) if unit else (f"{count} times", end)


def _every(tokens: Sequence[Token], at: int, words: English) -> tuple[str, int] | None:
    word = _value(tokens, at)
    if word in _ADVERBS:
        return f"1/{_ADVERBS[word]}", at + 1
    if word not in ("every", "each", "q") or at + 1 >= len(tokens):
        return None
    after = tokens[at + 1]
    if after.kind == "quantity" and after.value.endswith((" time", " month", " year")):
        seconds = Decimal(after.value.split()[0])
        if after.value.endswith(" time") and seconds == 86_400:
            return "1/day", at + 2
        return f"every {after.value}", at + 2
    if after.kind == "number" and (unit := _time_unit(tokens, at + 2, words)):
        return f"every {plain(Decimal(after.value) * words.units[unit].size)} time", at + 3
    unit = _time_unit(tokens, at + 1, words)
    return (f"1/{unit}", at + 2) if unit else None


def _per(tokens: Sequence[Token], at: int, before: Sequence[Token]) -> tuple[str, int] | None:
    """ "a day", "per week" after an amount."""
    amount = bool(before) and before[-1].kind in ("quantity", "number", "drug")
    token = tokens[at]
    if amount and token.kind == "quantity" and token.text in TIME_UNITS:  # was "a day"
        return f"1/{token.text}", at + 1
    if token.value == "per" and _value(tokens, at + 1) in TIME_UNITS:
        return f"1/{_value(tokens, at + 1)}", at + 2
    return None

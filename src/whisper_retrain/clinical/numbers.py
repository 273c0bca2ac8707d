"""Spoken numbers as numbers: "one point five", "two and a half", "one twenty over eighty", "12th".

Pure: tokens in, tokens out. A clock time is its digits ("half past seven" and "7:30" are 730), a
year and a pair of tens likewise ("nineteen eighty" is 1980, "one fifty" 150).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from whisper_retrain.clinical.tokens import Token

_ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
DIGIT = {word: number for number, word in enumerate(_ONES)}
TEEN = {word: number for number, word in enumerate(_TEENS, 10)}
TEN = {word: 10 * number for number, word in enumerate(_TENS, 2)} | {"fourty": 40}
SCALE = {"hundred": 100, "thousand": 1000, "million": 10**6}
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
ORDINAL = {word: number for number, word in enumerate(_ORDINALS.split(), 1)}
ORDINAL |= {f"{word}th": number for word, number in TEEN.items() if number > 12}
ORDINAL |= {f"{word[:-1]}ieth": number for word, number in TEN.items()}
SPOKEN = DIGIT.keys() | TEEN.keys() | TEN.keys()
FRACTION = {"half": Decimal("0.5"), "halves": Decimal("0.5"), "quarter": Decimal("0.25")}
FRACTION |= {"quarters": Decimal("0.25"), "third": Decimal(1) / 3, "thirds": Decimal(1) / 3}
_DENOMINATORS = {2, 3, 4, 8}
_BEGINNINGS = SPOKEN | ORDINAL.keys() | {"a", "an", "half", "quarter", "point", "minus", "negative"}
"""Words that a number may begin with; no other is looked at."""
_PRONOUN_AFTER = {"no", "any", "every", "some", "this", "that", "the", "which", "each", "only"}
_PRONOUN_AFTER |= {"another", "other"}


def plain(value: Decimal) -> str:
    """A number in one form: 1.50 is 1.5, 1000 is 1000."""
    rounded = round(value, 6)
    return f"{rounded.normalize():f}" if rounded else "0"


def with_numbers(tokens: Sequence[Token]) -> list[Token]:
    """The tokens with every spoken number as one token of kind `number`."""
    found: list[Token] = []
    at = 0
    while at < len(tokens):
        begins = tokens[at].kind == "number" or tokens[at].value in _BEGINNINGS
        taken = (_clock(tokens, at) or _number(tokens, at, found)) if begins else None
        if taken is None:
            found.append(tokens[at])
            at += 1
            continue
        value, end = taken
        written = " ".join(token.text for token in tokens[at:end]).removeprefix("- ")
        if tokens[at].text == "-":
            written = f"-{written}"
        found.append(Token("number", value, written))
        at = end
    return found


def _word(tokens: Sequence[Token], at: int) -> str:
    return tokens[at].value if 0 <= at < len(tokens) and tokens[at].kind == "word" else ""


def _number(tokens: Sequence[Token], at: int, before: Sequence[Token]) -> tuple[str, int] | None:
    """A signed number that begins at a place, and where it ends."""
    sign, start = Decimal(1), at
    if _word(tokens, at) in ("minus", "negative") and _amount(tokens, at + 1):
        sign, start = Decimal(-1), at + 1
    word = _word(tokens, start)
    if word == "one" and _is_pronoun(tokens, start, before):
        return None
    if word in ORDINAL and not (word == "second" and before and before[-1].kind == "number"):
        return (plain(Decimal(ORDINAL[word])), start + 1)
    amount = _amount(tokens, start)
    if amount is None:
        return None
    value, end = amount
    if _word(tokens, end) in ORDINAL and value % 10 == 0 and ORDINAL[_word(tokens, end)] < 10:
        value, end = value + ORDINAL[_word(tokens, end)], end + 1
    return plain(sign * value), end


def _is_pronoun(tokens: Sequence[Token], at: int, before: Sequence[Token]) -> bool:
    earlier = before[-1].value if before else ""
    return earlier in _PRONOUN_AFTER or _word(tokens, at + 1) in ("of", "another", "is", "can")


def _amount(tokens: Sequence[Token], at: int) -> tuple[Decimal, int] | None:
    """An unsigned amount: a whole, a decimal or a fraction, or a whole and a fraction."""
    whole = _whole(tokens, at)
    if whole is None:
        return _decimals(tokens, at, Decimal(0)) or _lone_fraction(tokens, at)
    value, end = whole
    decimals = _decimals(tokens, end, value)
    if decimals:
        return decimals
    return _fraction(tokens, end, value) or (value, end)


def _whole(tokens: Sequence[Token], at: int) -> tuple[Decimal, int] | None:
    if at >= len(tokens):
        return None
    if tokens[at].kind == "number":
        value, end = Decimal(tokens[at].value), at + 1
        while _word(tokens, end) in SCALE:
            value, end = value * SCALE[_word(tokens, end)], end + 1
        return value, end
    if _word(tokens, at) in ("a", "an") and _word(tokens, at + 1) in (*SCALE, "dozen"):
        size = 12 if _word(tokens, at + 1) == "dozen" else SCALE[_word(tokens, at + 1)]
        return _spoken(tokens, at + 2, Decimal(size)) or (Decimal(size), at + 2)
    return _digits(tokens, at) or _spoken(tokens, at)


def _digits(tokens: Sequence[Token], at: int) -> tuple[Decimal, int] | None:
    """Three or more single digits one after the other: "one oh five"."""
    end, digits = at, ""
    while (word := _word(tokens, end)) in DIGIT or (word in ("oh", "o") and digits):
        digits += str(DIGIT.get(word, 0))
        end += 1
    return (Decimal(digits), end) if len(digits) > 2 else None


def _spoken(
    tokens: Sequence[Token], at: int, begun: Decimal | None = None
) -> tuple[Decimal, int] | None:
    """A cardinal in words; two groups below a hundred stand side by side ("one fifty" is 150)."""
    total, group, end = Decimal(0), begun, at
    closed = joined = False
    while word := _word(tokens, end):
        if word in SCALE:
            if group is None:
                break
            if SCALE[word] == 100:
                group = group * 100
            else:
                total, group = total + group * SCALE[word], Decimal(0)
            closed = joined = False
        elif word in SPOKEN:
            size = DIGIT.get(word, TEEN.get(word, TEN.get(word, 0)))
            room = group is None or (group % 100 == 0 and (group >= 100 or total > 0))
            if room or (group is not None and group % 10 == 0 and 0 < size < 10 and not closed):
                group, closed = (group or Decimal(0)) + size, size < 20
            elif group is not None and 0 < group < 100 and size >= 10 and not joined:
                group, joined, closed = group * 100 + size, True, size < 20
            else:
                break
        elif not (
            word == "and"
            and (group or total)
            and group is not None
            and group % 100 == 0
            and _word(tokens, end + 1) in SPOKEN
        ):
            break
        end += 1
    return None if group is None or end == at else (total + group, end)


def _decimals(tokens: Sequence[Token], at: int, whole: Decimal) -> tuple[Decimal, int] | None:
    if _word(tokens, at) != "point":
        return None
    end, digits = at + 1, ""
    while end < len(tokens):
        word = _word(tokens, end)
        if word in DIGIT or word in ("oh", "o"):
            digits += str(DIGIT.get(word, 0))
        elif tokens[end].kind == "number" and tokens[end].value.isdigit():
            digits += tokens[end].value
        elif not digits and (spoken := _spoken(tokens, end)):
            return whole + Decimal(f"0.{spoken[0]}"), spoken[1]
        else:
            break
        end += 1
    return (whole + Decimal(f"0.{digits}"), end) if digits else None


def _fraction(tokens: Sequence[Token], at: int, whole: Decimal) -> tuple[Decimal, int] | None:
    """What may follow a whole number: " 1/2", "/2", "and a half", "quarters"."""
    if at + 1 < len(tokens) and tokens[at].value == "/" and tokens[at + 1].kind == "number":
        below = Decimal(tokens[at + 1].value)
        if whole < below and below in _DENOMINATORS:
            return whole / below, _after_of(tokens, at + 2)
        return None
    if part := _slashed(tokens, at):
        return whole + part[0], part[1]
    word = _word(tokens, at)
    if word == "and":
        return _and_part(tokens, at + 1, whole)
    if word in FRACTION and (whole == 1 or (whole in (2, 3) and word != "third")):
        return whole * FRACTION[word], at + 1
    return None


def _and_part(tokens: Sequence[Token], at: int, whole: Decimal) -> tuple[Decimal, int] | None:
    """ "and a half", "and three quarters"."""
    start = at + 1 if _word(tokens, at) in ("a", "one") else at
    if _word(tokens, start) in ("half", "quarter"):
        return whole + FRACTION[_word(tokens, start)], start + 1
    if (_word(tokens, at), _word(tokens, at + 1)) == ("three", "quarters"):
        return whole + Decimal("0.75"), at + 2
    return None


def _slashed(tokens: Sequence[Token], at: int) -> tuple[Decimal, int] | None:
    """A fraction in digits, such as 1/2."""
    if at + 2 >= len(tokens) or tokens[at + 1].value != "/":
        return None
    if tokens[at].kind != "number" or tokens[at + 2].kind != "number":
        return None
    above, below = Decimal(tokens[at].value), Decimal(tokens[at + 2].value)
    return (above / below, at + 3) if above < below and below in _DENOMINATORS else None


def _lone_fraction(tokens: Sequence[Token], at: int) -> tuple[Decimal, int] | None:
    """ "half a tablet", "a quarter of a", "half"."""
    start = at + 1 if _word(tokens, at) in ("a", "one") else at
    word = _word(tokens, start)
    if word not in ("half", "quarter") or _word(tokens, start + 1) == "past":
        return None
    return FRACTION[word], _after_of(tokens, start + 1)


def _after_of(tokens: Sequence[Token], at: int) -> int:
    """Past "of", "a", "of a" after a fraction."""
    end = at + 1 if _word(tokens, at) == "of" else at
    return end + 1 if _word(tokens, end) in ("a", "an") else end


def _clock(tokens: Sequence[Token], at: int) -> tuple[str, int] | None:
    """ "half past seven", "quarter to eight", "ten past nine"."""
    start = at + 1 if _word(tokens, at) == "a" else at
    minutes = {"half": 30, "quarter": 15}.get(_word(tokens, start))
    if minutes is None or _word(tokens, start + 1) not in ("past", "to", "after"):
        return None
    hour = _whole(tokens, start + 2)
    if hour is None or not 1 <= hour[0] <= 24:
        return None
    if _word(tokens, start + 1) == "to":
        return f"{int(hour[0]) - 1 or 12}{60 - minutes}", hour[1]
    return f"{int(hour[0])}{minutes}", hour[1]

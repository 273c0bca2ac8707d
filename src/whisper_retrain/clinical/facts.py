"""Amounts, sides, codes, letters, dates: what stands in the place of what, and of what it is said.

What only moved with all that belongs to it is no finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from whisper_retrain.clinical.alignment import Region, Side
from whisper_retrain.clinical.english import english
from whisper_retrain.clinical.findings import Finding, FindingKind
from whisper_retrain.clinical.polarity import is_content
from whisper_retrain.clinical.tokens import Token
from whisper_retrain.clinical.words import Names

DOSED = (
    *("mass", "volume", "unit", "meq", "mmol", "tablet", "pill", "capsule"),
    *("puff", "drop", "spray", "patch", "ampule", "vial", "dose"),
)
"""What doses are measured in."""
KIND_OF: dict[str, FindingKind] = {
    "side": "laterality",
    "frequency": "frequency",
    "route": "route",
    "comparison": "comparison",
    "letter": "letter",
    "date": "date",
    "clock": "date",
    "unit": "unit",
    "rate": "unit",
    "number": "number",
    "quantity": "number",
}
ALONE = frozenset({"side", "frequency", "comparison", "number", "quantity", "rate"})
"""Kinds of tokens whose loss counts by itself; the others count where another stands instead."""


@dataclass(frozen=True)
class Fact:
    """A token of weight in a region, and what it is said of."""

    token: Token
    """What it is."""
    about: str
    """What it is said of; empty where nothing is near."""
    region: int
    """Number of the region that it stands in."""
    replaced: bool
    """Whether other words stand in its place."""

    @property
    def weighs_alone(self) -> bool:
        """Whether its loss is a finding where nothing of its kind stands instead."""
        way = self.token.kind == "route" and (bool(self.about) or self.replaced)
        return way or self.token.kind in ALONE


def fact_findings(
    said: Side, written: Side, regions: Sequence[Region], names: Names
) -> Iterator[Finding]:
    """Amounts, sides, codes: paired within a region; what moved whole is left out."""
    lost = [
        Fact(said.tokens[at], _about(said.tokens, at, names), number, bool(one.hypothesis))
        for number, one in enumerate(regions)
        for at in one.reference
        if said.tokens[at].kind in KIND_OF
    ]
    added = [
        Fact(written.tokens[at], _about(written.tokens, at, names), number, bool(one.reference))
        for number, one in enumerate(regions)
        for at in one.hypothesis
        if written.tokens[at].kind in KIND_OF
        and not _sounds_alike(written.tokens[at], [said.tokens[place] for place in one.reference])
    ]
    _leave_out_what_moved(lost, added)
    for number in range(len(regions)):
        yield from _paired(
            [fact for fact in lost if fact.region == number],
            [fact for fact in added if fact.region == number],
        )


def _sounds_alike(number: Token, words: Sequence[Token]) -> bool:
    """Whether a number in words is a little word that sounds like it."""
    alike = english().homophones.get(number.text, frozenset())
    return any(word.value in alike for word in words)


def _leave_out_what_moved(lost: list[Fact], added: list[Fact]) -> None:
    """Facts that stand elsewhere with what they are said of, where that has one such fact."""
    said_of = Counter((_family(fact.token), fact.about) for fact in lost)
    for fact in list(lost):
        alike = (one for one in added if (one.token.key, one.about) == (fact.token.key, fact.about))
        twin = next(alike, None)
        if twin and fact.about and said_of[_family(fact.token), fact.about] == 1:
            lost.remove(fact)
            added.remove(twin)


def _paired(lost: list[Fact], added: list[Fact]) -> Iterator[Finding]:
    """Losses with what stands in their place, kind by kind; then what stands alone."""
    left, right = list(lost), list(added)
    for fact in lost:
        other = next((f for f in right if _family(f.token) == _family(fact.token)), None)
        if other:
            left.remove(fact)
            right.remove(other)
            # "20/20" and 2020 are spoken alike.
            if fact.token.key.replace("/", "") != other.token.key.replace("/", ""):
                yield _difference(fact, other)
    for fact in left:
        if fact.weighs_alone:
            # Another word in the place of a dose is seen by a reader, another dose is not.
            kind = "garbled" if fact.replaced else kind_of(fact.token)
            yield Finding(kind, fact.token.text, "", fact.about)
    for fact in right:
        if fact.weighs_alone:
            yield Finding(kind_of(fact.token), "", fact.token.text, fact.about)


def _family(token: Token) -> str:
    return "amount" if token.kind in ("number", "quantity", "unit") else token.kind


def _difference(fact: Fact, other: Fact) -> Finding:
    one, two = fact.token, other.token
    if one.kind == "quantity" and two.kind == "unit":  # its number is no number any more
        return Finding("garbled", one.text, "", fact.about)
    amounts = [token for token in (one, two) if token.kind == "quantity"]
    kind = kind_of(amounts[0] if amounts else one)
    numbers = {token.text.split()[0] for token in (one, two)}
    dimensions = {token.value.split()[1] for token in amounts}
    if kind != "duration" and amounts and (len(numbers) == 1 or len(dimensions) == 2):
        kind = "unit"
    return Finding(kind, one.text, two.text, fact.about or other.about)


def kind_of(token: Token) -> FindingKind:
    """The kind of finding that the loss of a token is; of one of the kinds in KIND_OF."""
    if token.kind == "quantity":
        dimension = token.value.split()[1]
        if dimension in DOSED:
            return "dose"
        return "duration" if dimension in ("time", "month", "year") else "number"
    return KIND_OF[token.kind]


def _about(tokens: Sequence[Token], at: int, names: Names) -> str:
    """What a fact is said of: the nearest drug, or for a side and a number the next word."""
    kind, count = tokens[at].kind, len(tokens)
    if kind in ("quantity", "frequency", "route", "number", "unit"):
        for place in chain(range(at - 1, max(-1, at - 7), -1), range(at + 1, min(count, at + 5))):
            if names.is_drug(tokens[place]):
                return tokens[place].text
    if kind in ("side", "number"):
        for place in chain(range(at + 1, min(count, at + 4)), range(at - 1, max(-1, at - 3), -1)):
            if tokens[place].kind == "word" and is_content(tokens[place]):
                return tokens[place].text
    return ""

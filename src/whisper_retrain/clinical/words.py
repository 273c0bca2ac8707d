"""Words in the place of others: drugs, opposites, look-alikes, prefix pairs, medical terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import product

from whisper_retrain.clinical.english import english
from whisper_retrain.clinical.findings import Finding, FindingKind
from whisper_retrain.clinical.polarity import is_content
from whisper_retrain.clinical.spelling import spelling, uninflected
from whisper_retrain.clinical.tokens import Token

ALIKE = 0.75
"""Share of letters (difflib's ratio) from which a misspelled name is still read as itself."""
KINDS_OF_WORDS = ("word", "route")
PASSAGE = 2
"""Content words in a row that make a passage."""
SHORTEST_TERM = 4
SHORTEST_STEMMED = 8


@dataclass(frozen=True, eq=False)
class Names:
    """Medical names: word -> tier, as a lexicon sorts them."""

    tiers: Mapping[str, str]
    """Word, normalised, -> tier."""

    def tier(self, token: Token) -> str | None:
        """The tier of a word, in its own or the common spelling."""
        if token.kind != "word" or token.value in english().function:
            return None
        if token.text in english().opposite_words:
            return None
        if len(token.text) < SHORTEST_TERM:
            return "anatomy" if self.tiers.get(token.text) == "anatomy" else None
        if is_drug_name(token.text) or is_drug_name(token.value):
            return "drug"
        known = self.tiers.get(token.text) or self.tiers.get(token.value)
        medical = len(token.value) >= SHORTEST_STEMMED and token.value.endswith(english().suffixes)
        return known or ("diagnosis" if medical else None)

    def is_drug(self, token: Token) -> bool:
        """Whether a word names a drug."""
        return self.tier(token) == "drug"


@lru_cache(maxsize=65_536)
def is_drug_name(word: str) -> bool:
    """Whether a word is a listed drug name or is built like an international one."""
    built = len(word) >= SHORTEST_STEMMED and word.endswith(english().drug_stems)
    return built or word in english().drugs


def word_findings(lost: Sequence[Token], added: Sequence[Token], names: Names) -> Iterator[Finding]:
    """What weighs among the words that were lost from a place and the words that stand there."""
    words = [token for token in lost if token.kind in KINDS_OF_WORDS]
    others = [token for token in added if token.kind in KINDS_OF_WORDS]
    taken: set[str] = set()
    for one, two in product(words, others):
        kind = _confusion(one, two, names)
        if kind and not {one.text, two.text} & taken:
            taken |= {one.text, two.text}
            yield Finding(kind, one.text, two.text)
    spelled = "".join(token.text for token in others)
    for one in words:
        if names.is_drug(one) and one.text not in taken and not _alike(one.text, spelled, others):
            yield Finding("garbled" if others else "drug", one.text, "")
    if not words:
        for two in others:
            if names.is_drug(two):
                yield Finding("drug", "", two.text)
    yield from _weighty(words, others)


def passage_findings(lost: Sequence[Token], added: Sequence[Token]) -> Iterator[Finding]:
    """A passage that was left out, or written without having been said."""
    if not added and sum(map(is_content, lost)) >= PASSAGE:
        yield Finding("omission", " ".join(token.text for token in lost), "")
    if not lost and sum(map(is_content, added)) >= PASSAGE:
        yield Finding("addition", "", " ".join(token.text for token in added))


def _weighty(lost: Sequence[Token], added: Sequence[Token]) -> Iterator[Finding]:
    """Words that change what is done, lost or put in."""
    said, written = (
        {form: token.text for token in side for form in uninflected(token.value)}
        for side in (lost, added)
    )
    for form in sorted(english().weighty):
        if (form in said) != (form in written):
            yield Finding("term", said.get(form, ""), written.get(form, ""))


def _confusion(one: Token, two: Token, names: Names) -> FindingKind | None:
    """Of which kind the exchange of one word for another is; None for one without weight."""
    if is_same_word(one.value, two.value):
        return None
    if is_pair(one.text, two.text, "opposites"):
        return "opposite"
    tiers = {names.tier(one), names.tier(two)}
    if tiers == {"drug"}:
        listed = {one.text, two.text} <= english().drugs | names.tiers.keys()
        return "drug" if listed or not _alike(one.text, two.text, ()) else None
    if _look_alike(one.text.replace(" ", ""), two.text.replace(" ", "")):
        return "look-alike"
    return None if {None, "drug"} & tiers else "term"


def _look_alike(one: str, two: str) -> bool:
    paired = is_pair(one, two, "look_alikes")
    return paired or differ_in_prefix(one, two) or differ_in_suffix(one, two)


@lru_cache(maxsize=65_536)
def is_same_word(one: str, two: str) -> bool:
    """Whether two words are forms of one: pain and pains, deny and denies."""
    first, second = set(uninflected(one)), set(uninflected(two))
    return bool(first & second)


def is_pair(one: str, two: str, table: str) -> bool:
    """Whether forms of two words stand as a pair in a table."""
    pairs = getattr(english(), table)
    forms = product({*uninflected(one), spelling(one)}, {*uninflected(two), spelling(two)})
    return any(pair in pairs for pair in forms)


@lru_cache(maxsize=65_536)
def differ_in_prefix(one: str, two: str) -> bool:
    """Whether two words are alike but for a pair of prefixes: hypoxia and hyperoxia."""
    for first, second in english().prefix_pairs:
        rest = one.removeprefix(first)
        if one.startswith(first) and len(rest) > 1 and two == second + rest:
            return True
    return False


def differ_in_suffix(one: str, two: str) -> bool:
    """Whether two words have one stem and different medical endings: leukocytosis, leukopenia."""
    stems = []
    for word in (one, two):
        ending = next((end for end in english().suffixes if word.endswith(end)), None)
        stems.append(word.removesuffix(ending) if ending else "")
    return len(stems[0]) > 2 and stems[0] == stems[1]


def _alike(name: str, spelled: str, others: Sequence[Token]) -> bool:
    """Whether what stands there is the name, misspelled."""
    near = [spelled, *(token.text for token in others)]
    return any(SequenceMatcher(None, name, text).ratio() >= ALIKE for text in near)

"""Sorts medical terms into drug, diagnosis, symptom, anatomy and procedure by their words.

Knows nothing of transcripts. `medwer`'s list is one list: drug products of Health Canada and
ICD-10-CM terms, and their single words. A product that starts with a maker's name ("apo doxepin")
names its substance, which makes most generic names known; words, stems and endings in tiers.toml
say the rest; what no rule knows stays without a tier.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Literal, get_args

Tier = Literal["drug", "diagnosis", "symptom", "anatomy", "procedure"]
TIERS: tuple[Tier, ...] = get_args(Tier)

Rules = dict[str, dict[str, frozenset[str]]]
# Which tier wins where a term has words of several: "skin graft failure" is about a procedure.
ORDER: tuple[Tier, ...] = ("procedure", "diagnosis", "symptom", "drug")
SHORTEST_STEMMED = 6


def sort_into_tiers(terms: Iterable[str]) -> dict[str, Tier]:
    """Term (normalised) -> tier; terms that no rule knows are left out."""
    rules = load_rules()
    terms = list(terms)
    substances = _substances(terms, rules)
    guessed = {term: next(_guesses(term.split(), rules, substances), None) for term in terms}
    extra = {word: tier for tier in TIERS for word in sorted(rules[tier]["words"])}
    return extra | {term: tier for term, tier in guessed.items() if tier}


def load_rules() -> Rules:
    """The words and stems of tiers.toml."""
    text = files("whisper_retrain.evaluation").joinpath("tiers.toml").read_text()
    return {
        tier: {kind: frozenset(words.split()) for kind, words in kinds.items()}
        for tier, kinds in tomllib.loads(text).items()
    }


def _substances(terms: Iterable[str], rules: Rules) -> frozenset[str]:
    """Words that follow a maker's name, unless they are words of another tier or a form."""
    other = frozenset().union(*(rules[tier]["words"] for tier in TIERS if tier != "drug"))
    houses, forms = rules["drug"]["houses"], rules["drug"]["forms"]
    named = {
        word
        for term in terms
        if (words := term.split())[0] in houses
        for word in words[1:]
        if len(word) >= SHORTEST_STEMMED and word.isalpha()
    }
    return frozenset(named - other - forms)


def _guesses(words: list[str], rules: Rules, substances: frozenset[str]) -> Iterator[Tier]:
    """The tiers that the rules give a term, the surest first."""
    drug, anatomy = rules["drug"], rules["anatomy"]["words"]
    if len(words) > 1 and (words[0] in drug["houses"] or drug["forms"].intersection(words)):
        yield "drug"
    if anatomy.issuperset(words):
        yield "anatomy"
    yield from (tier for tier in ORDER if rules[tier]["words"].intersection(words))
    if substances.intersection(words):
        yield "drug"
    for tier in ORDER:
        if any(_has_stem(word, rules[tier]["stems"]) for word in words):
            yield tier
    if len(words) > 1 and drug["salts"].intersection(words):
        yield "drug"
    if anatomy.intersection(words):  # what is left says what is wrong with a part of the body
        yield "diagnosis"


def _has_stem(word: str, stems: frozenset[str]) -> bool:
    if len(word) < SHORTEST_STEMMED:
        return False
    sizes = range(3, len(word))
    return any(f"-{word[-size:]}" in stems or f"{word[:size]}-" in stems for size in sizes)

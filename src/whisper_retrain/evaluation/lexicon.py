"""Which words of a transcript are medical, and of what tier: medwer's list, and a user's own.

Knows nothing of counts. Terms are matched on normalised text, greedily, the longest first, and a
term of several words counts as one: the protocol of `medwer`, whose figures a test reproduces.
Body parts and procedures that medwer does not list are found for their tiers, but are no part of
the medical WER, which stays comparable with others' figures.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cache

from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.tiers import TIERS, Tier, sort_into_tiers
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import digest_of

MEDWER_LIST = "medwer-1.0.0/tiers-1"
"""Bump when tiers.toml or the matching changes; it is part of every report."""


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Medical terms in normalised form, and the tiers of those that have one."""

    terms: frozenset[str]
    """Medical terms, normalised."""
    tiers: Mapping[str, Tier]
    """Term -> tier, of those that have one."""
    heads: Mapping[str, int]
    """First word of a term -> how many words the longest such term has."""
    version: str
    """Part of every report."""

    def find(self, normalized: str) -> list[str]:
        """The medical terms of a normalised text, in order, each as one token."""
        return _keep(normalized, self.terms, self.heads)

    def find_tiers(self, normalized: str) -> dict[Tier, list[str]]:
        """Those terms of a normalised text that have a tier, by tier."""
        found: dict[Tier, list[str]] = {tier: [] for tier in TIERS}
        for token in _keep(normalized, self.tiers, self.heads):
            found[self.tiers[token.replace("_", " ")]].append(token)
        return found


def default_lexicon(own: tuple[str, ...] = ()) -> Lexicon:
    """medwer's 19,373 terms and a user's own, given as "term" or "tier: term"."""
    return _lexicon(own)


@cache
def _lexicon(own: tuple[str, ...]) -> Lexicon:
    from medwer import default_terms_path, load_terms

    bundled, _ = load_terms(default_terms_path())
    given = dict(map(_own_term, own))
    terms = frozenset(bundled) | given.keys()
    tiers = dict(sort_into_tiers(sorted(terms)))
    tiers |= {term: tier for term, tier in given.items() if tier}
    version = f"{MEDWER_LIST}+{digest_of(sorted(own))[:12]}" if own else MEDWER_LIST
    heads: dict[str, int] = {}
    for words in map(str.split, terms | tiers.keys()):
        heads[words[0]] = max(heads.get(words[0], 0), len(words))
    return Lexicon(terms, tiers, heads, version)


def _own_term(line: str) -> tuple[str, Tier | None]:
    head, colon, tail = line.partition(":")
    tier = next((tier for tier in TIERS if tier == head.strip()), None) if colon else None
    term = normalize(tail if tier else line)
    if not term:
        raise InputError(
            "an own term has no words",
            where="own terms",
            expected='"term" or "tier: term"',
            got=repr(line),
            remedy=f"the tiers are {', '.join(TIERS)}",
        )
    return term, tier


def _keep(text: str, terms: Container[str], heads: Mapping[str, int]) -> list[str]:
    """medwer's greedy search, with a window no wider than a term that can begin in this text."""
    from medwer import keep_medical

    longest = max((heads.get(word, 0) for word in text.split()), default=0)
    return keep_medical(text, terms, longest).split() if longest else []

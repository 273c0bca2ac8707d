"""Which words of a transcript are medical: medwer's list, and a user's own.

Knows nothing of counts. Terms are matched on normalised text, greedily, the longest first, and a
term of several words counts as one: the protocol of `medwer`, whose figures a test reproduces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from whisper_retrain.evaluation.normalizer import normalize
from whisper_retrain.records import digest_of

MEDWER_LIST = "medwer-1.0.0"


@dataclass(frozen=True)
class Lexicon:
    """Medical terms in normalised form."""

    terms: frozenset[str]
    longest: int
    version: str

    def find(self, normalized: str) -> list[str]:
        """The medical terms of a normalised text, in order, each as one token."""
        from medwer import keep_medical

        return keep_medical(normalized, self.terms, self.longest).split()


@cache
def default_lexicon(extra: tuple[str, ...] = ()) -> Lexicon:
    """medwer's 19,373 terms and a user's own ones."""
    from medwer import default_terms_path, load_terms

    bundled, _ = load_terms(default_terms_path())
    own = _normalized(extra)
    terms = frozenset(bundled) | own
    version = f"{MEDWER_LIST}+{digest_of(sorted(own))[:12]}" if own else MEDWER_LIST
    return Lexicon(terms, max(len(term.split()) for term in terms), version)


def _normalized(terms: Iterable[str]) -> frozenset[str]:
    return frozenset(filter(None, map(normalize, terms)))

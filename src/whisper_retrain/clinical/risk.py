"""What of weight an utterance says, kind by kind: where an error of this kind could be."""

from __future__ import annotations

from whisper_retrain.clinical.english import english
from whisper_retrain.clinical.facts import KIND_OF, kind_of
from whisper_retrain.clinical.findings import FindingKind
from whisper_retrain.clinical.spelling import uninflected
from whisper_retrain.clinical.tokens import Token
from whisper_retrain.clinical.view import clinical_view
from whisper_retrain.clinical.words import Names


def at_risk(reference: str, names: Names) -> frozenset[FindingKind]:
    """The kinds of findings that a transcript of this text could have."""
    found: set[FindingKind] = set()
    for token in clinical_view(reference):
        if token.kind in KIND_OF:
            found.add(kind_of(token))
            if token.kind == "quantity":
                found.add("unit")
        elif token.kind in ("cue", "cue-after", "reply"):
            found.add("negation")
        elif token.kind == "word":
            found |= _of_word(token, names)
    return frozenset(found)


def _of_word(token: Token, names: Names) -> set[FindingKind]:
    found: set[FindingKind] = set()
    tier = names.tier(token)
    if tier:
        found.add("drug" if tier == "drug" else "term")
    forms = set(uninflected(token.text))
    if forms & english().opposite_words:
        found.add("opposite")
    if forms & english().look_alike_words or _has_paired_prefix(token.text):
        found.add("look-alike")
    return found


def _has_paired_prefix(word: str) -> bool:
    """A long prefix of a pair: of a short one nearly every word has the letters."""
    return len(word) > 6 and word.startswith(english().long_prefixes)

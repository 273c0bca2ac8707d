"""What a test set can never decide, told from its references before anything is trained. Pure.

Of the same policy that the gate will decide by; a limit that is `decisive` makes every decision
inconclusive, whatever the challenger does. The others leave a rule without eyes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from whisper_retrain.clinical import FindingKind, Names, at_risk
from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.statistics import MIN_BLOCKS
from whisper_retrain.normalizer import normalize

WATCHED: tuple[FindingKind, ...] = ("negation", "laterality", "dose", "drug")
"""Kinds of findings that a medical test set should be able to show."""


class Spoken(Protocol):
    """What is known of an utterance of the test set before anybody transcribed it."""

    @property
    def reference(self) -> str: ...
    @property
    def speaker(self) -> str | None: ...


@dataclass(frozen=True)
class Limit:
    """Something that the gate cannot find out on this test set."""

    rule: str
    """The rule that is blind."""
    reason: str
    """What there is, and what is needed."""
    remedy: str
    """What would help."""
    decisive: bool = False
    """Nothing can be promoted."""


def foresee(test_set: Sequence[Spoken], policy: GatePolicy) -> tuple[Limit, ...]:
    """The limits of a test set under a policy, decisive ones first."""
    texts = [normalize(one.reference) for one in test_set]
    limits = [*_words(texts, policy), *_speakers(test_set, policy)]
    limits += _medical_terms(texts, policy)
    limits += _critical_words([one.reference for one in test_set])
    return tuple(sorted(limits, key=lambda limit: not limit.decisive))


def _words(texts: Sequence[str], policy: GatePolicy) -> list[Limit]:
    words = sum(len(text.split()) for text in texts)
    if words >= policy.min_words:
        return []
    return [
        Limit(
            rule="test-set-size",
            reason=f"the test set has {words} reference words, {policy.min_words} are needed",
            remedy=_more(policy.min_words, words),
            decisive=True,
        )
    ]


def _more(needed: int, found: int) -> str:
    if not found:
        return "add recordings"
    return f"about {ceil(10 * needed / found) / 10:.1f} times as many recordings like these"


def _speakers(test_set: Sequence[Spoken], policy: GatePolicy) -> list[Limit]:
    speakers = {one.speaker for one in test_set if one.speaker}
    if speakers and len(speakers) < policy.min_speakers:
        return [
            Limit(
                rule="speakers",
                reason=f"the test set has {len(speakers)} speakers, {policy.min_speakers} are"
                " needed",
                remedy="add recordings of other speakers",
                decisive=True,
            )
        ]
    if len(speakers) >= MIN_BLOCKS:
        return []
    if not speakers and "speakers" not in policy.waived:
        return [
            Limit(
                rule="speakers",
                reason="no speakers are known in the test set: who errs together is not known, and"
                " no interval holds",
                remedy="a column of speakers, or `speakers` in `waived` of the policy: decisions"
                " then hold for these recordings' speakers only",
                decisive=True,
            )
        ]
    who = f"{len(speakers)} speakers are known" if speakers else "no speakers are known"
    return [
        Limit(
            rule="worst-speakers",
            reason=f"{who} in the test set: what is found holds for these recordings' speakers,"
            " and nobody is looked at alone",
            remedy=f"a column of speakers, and recordings of at least {MIN_BLOCKS} in the test set",
        )
    ]


def _medical_terms(texts: Sequence[str], policy: GatePolicy) -> list[Limit]:
    lexicon = default_lexicon(policy.own_terms)
    terms = sum(len(lexicon.find(text)) for text in texts)
    if terms >= policy.min_medical_terms:
        return []
    return [
        Limit(
            rule="medical-terms",
            reason=f"the test set has {terms} medical terms, {policy.min_medical_terms} are needed:"
            " whether they get worse is shown and does not count",
            remedy="recordings with the terms that matter to you, or list those as own terms",
        )
    ]


def _critical_words(texts: Sequence[str]) -> list[Limit]:
    names = Names(default_lexicon().tiers)
    said = frozenset[FindingKind]().union(*(at_risk(text, names) for text in texts))
    unsaid = [kind for kind in WATCHED if kind not in said]
    if not unsaid:
        return []
    return [
        Limit(
            rule="safety",
            reason=f"nobody in the test set says any of: {', '.join(unsaid)};"
            " errors there will not be seen",
            remedy="recordings of sentences with such words",
        )
    ]

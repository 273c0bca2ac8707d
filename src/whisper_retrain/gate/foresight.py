"""What a test set can never decide, told from its references before anything is trained. Pure.

Of the same policy that the gate will decide by; a limit that is `decisive` makes every decision
inconclusive, whatever the challenger does. The others leave a rule without eyes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist
from typing import Protocol

from whisper_retrain.clinical import FindingKind, Names, at_risk
from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.gate.ledger import alpha_of_look
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.statistics import MIN_BLOCKS, POWER, student_quantile
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


OWN_SHARE = 0.4
"""Of a model's errors, that the other does not make."""
BY_SPEAKER, BY_PHRASE = 0.25, 0.40
"""How much one model suits a speaker or phrase better by chance, on a log scale; see
benchmarks/gate_counts.py for where these come from."""
USUAL_WER = 0.1
"""Of models whose difference is foretold: one word in ten."""


def smallest_change(
    test_set: Sequence[Spoken], policy: GatePolicy, looks: int = 0, wer: float = USUAL_WER
) -> float | None:
    """The smallest true change in WER that is found with 80 % probability; None: none ever.

    s.e.^2 = 2 e / n + 2 e^2 (s^2 / G + p^2 / P): n words, G speakers, P phrases, e the rate of
    errors that only one of two models makes, s and p how it suits speakers and phrases.
    """
    words = sum(len(normalize(one.reference).split()) for one in test_set)
    speakers = len({one.speaker for one in test_set if one.speaker})
    phrases = len({normalize(one.reference) for one in test_set})
    alpha = alpha_of_look(looks + 1, policy.alpha, policy.planned_looks)
    if words < policy.min_words or not speakers or not alpha:
        return None
    own = OWN_SHARE * wer
    blocks = (BY_SPEAKER**2 / speakers if speakers >= MIN_BLOCKS else 0.0) + BY_PHRASE**2 / phrases
    error = sqrt(2 * own / words + 2 * own**2 * blocks)
    fewest = speakers if speakers >= MIN_BLOCKS else max(MIN_BLOCKS, phrases)
    return (student_quantile(1 - alpha, fewest - 1) + NormalDist().inv_cdf(POWER)) * error


def finds(test_set: Sequence[Spoken], policy: GatePolicy) -> str:
    """What the test set can find, in words for its report."""
    first = smallest_change(test_set, policy)
    later = smallest_change(test_set, policy, looks=1) or first
    if first is None or later is None:
        return "The test set can find no change: it has too few words, or no known speakers."
    return (
        f"The test set can find a change of {100 * first:.1f} points of WER with 80 % probability"
        f" at the first look, and of {100 * later:.1f} points at each later one (models that get"
        " one word in ten wrong)."
    )


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

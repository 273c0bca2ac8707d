"""The rules of the gate, each a function from a contest to its outcome; pure.

A rule either proves something (`pass`), finds it broken (`fail`), cannot tell (`inconclusive`) or
only says what is (`info`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np

from whisper_retrain.evaluation.rows import Row
from whisper_retrain.evaluation.scoring import repeated_ngrams
from whisper_retrain.gate.contest import Contest
from whisper_retrain.gate.mapsswe import mapsswe
from whisper_retrain.gate.measures import (
    Measure,
    block_views,
    bounded,
    compare_measure,
    paired,
)
from whisper_retrain.gate.paired import Changes
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.slices import SliceComparison
from whisper_retrain.gate.statistics import MIN_BLOCKS, Comparison, compare
from whisper_retrain.gate.wording import interval_text, listing, points
from whisper_retrain.gate.worst import compare_worst_speakers
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import RuleOutcome

UNKNOWN_SHARE = 0.1
"""Of the words, whose speakers may be unknown: together they count as one speaker."""


def test_set_size(contest: Contest) -> list[RuleOutcome]:
    """Enough words, and enough speakers where speakers are known."""
    words = contest.champion.report.words.reference_length
    speakers, policy = len(contest.speakers), contest.policy
    unknown = contest.unknown_share
    rules = [
        RuleOutcome(
            rule="test-set-size",
            outcome="pass" if words >= policy.min_words else "inconclusive",
            figure=words,
            bound=policy.min_words,
            reason=f"the test set has {words} reference words, {policy.min_words} are needed",
        )
    ]
    if unknown > UNKNOWN_SHARE:
        rules.append(_unknown_speakers(unknown, speakers, policy))
    elif speakers:
        alone = " (what is found holds for these speakers only)" if speakers < MIN_BLOCKS else ""
        rules.append(
            RuleOutcome(
                rule="speakers",
                outcome="pass" if speakers >= policy.min_speakers else "inconclusive",
                figure=speakers,
                bound=policy.min_speakers,
                reason=f"{speakers} speakers, {policy.min_speakers} are needed{alone}",
            )
        )
    return rules


def _unknown_speakers(share: float, known: int, policy: GatePolicy) -> RuleOutcome:
    """Who errs together is not known: no interval holds for others than these recordings."""
    waived = "speakers" in policy.waived
    return RuleOutcome(
        rule="speakers",
        outcome="info" if waived else "inconclusive",
        figure=known,
        bound=policy.min_speakers,
        reason=f"who speaks is not known for {share:.0%} of the words, and what one person says"
        " errs together: with 20 unknown speakers an equal model is called better in 24 % of"
        " cases at 5 %; name the speakers in a column of the dataset"
        + (
            "; waived by the policy: what is found holds for these recordings' speakers only"
            if waived
            else ", or put `speakers` into `waived` of the policy: what is found then holds for"
            " these recordings' speakers only"
        ),
    )


def improvement(contest: Contest) -> list[RuleOutcome]:
    """WER surely lower, by enough to be worth it; what could have been found; MAPSSWE beside."""
    policy = contest.policy
    alpha = contest.alpha
    if not alpha:
        return [_used_up(contest.standing.looks, policy)]
    whole = paired(contest.champion_rows, contest.challenger_rows, "words")
    found = compare(
        bounded(whole),
        block_views(contest.champion_rows),
        alpha=alpha,
        replicates=policy.replicates,
        seed=policy.seed,
    )
    return [
        _named(_better(found, whole.difference, contest.standing.looks, alpha), contest, "words"),
        RuleOutcome(
            rule="least-improvement",
            outcome="pass" if found.difference <= -policy.min_improvement else "fail",
            figure=found.difference,
            bound=-policy.min_improvement,
            reason=f"WER, an utterance's errors bounded, changed by {points(found.difference)}, and"
            f" must fall by at least {points(policy.min_improvement, sign=False)}",
        ),
        *_detectable(found),
    ]


def highest_wer(contest: Contest) -> list[RuleOutcome]:
    """Better than the champion is not enough: nobody is served by every second word wrong."""
    wer, bound = contest.challenger.report.words.error_rate, contest.policy.max_wer
    return [
        RuleOutcome(
            rule="highest-wer",
            outcome="pass" if wer <= bound else "inconclusive",
            figure=wer if isfinite(wer) else None,
            bound=bound,
            reason=f"the challenger's WER is {wer:.1%}, at most {bound:.0%} is promoted",
        )
    ]


def runaways(contest: Contest) -> list[RuleOutcome]:
    """Transcripts that never end or repeat themselves: not more of them than before."""
    rows = list(zip(contest.champion_rows, contest.challenger_rows, strict=True))
    flags = np.array([[_ran_away(row) for row in pair] for pair in rows], dtype=np.float64)
    changes = Changes(
        flags[:, 1] - flags[:, 0], block_views(contest.champion_rows), int(flags[:, 0].sum())
    )
    allowed = max(1.0, contest.policy.runaway_share * len(rows))
    surely = changes.by_chance <= contest.policy.guard_alpha and changes.more > 1
    unsure = changes.more > allowed
    named = [other.id for (_, other), (a, b) in zip(rows, flags, strict=True) if b > a]
    return [
        RuleOutcome(
            rule="runaways",
            outcome="fail" if surely else "inconclusive" if unsure else "pass",
            figure=changes.more,
            bound=allowed,
            probability=changes.by_chance,
            utterances=tuple(named),
            reason=f"transcripts that did not end or repeat themselves: {flags[:, 0].sum():.0f} of"
            f" {len(rows)} under the champion, {flags[:, 1].sum():.0f} under the challenger,"
            f" {changes.new} of them new ({listing(named) or 'none'})",
        )
    ]


def _ran_away(row: Row) -> bool:
    if row.runaway:
        return True
    return repeated_ngrams(row.hypothesis) > repeated_ngrams(row.reference)


def cross_check(contest: Contest) -> list[RuleOutcome]:
    """MAPSSWE, which does not know of speakers, beside the gate's own test."""
    return [_mapsswe(contest)] if contest.alpha else []


def _used_up(looks: int, policy: GatePolicy) -> RuleOutcome:
    return RuleOutcome(
        rule="improvement",
        outcome="inconclusive",
        figure=looks,
        bound=policy.planned_looks,
        reason=f"the test set is used up: it was looked at {looks} times within a year,"
        f" {policy.planned_looks} were planned; freeze a new one",
    )


def _better(found: Comparison, whole: float, looks: int, alpha: float) -> RuleOutcome:
    worse = "fail" if found.difference >= 0 else "inconclusive"
    return RuleOutcome(
        rule="improvement",
        outcome="pass" if found.interval.high < 0 else worse,
        figure=found.difference,
        bound=0.0,
        interval=found.interval,
        probability=found.improvement_probability,
        reason=f"WER changed by {points(found.difference)} ({interval_text(found)}), no utterance"
        f" counting more errors than words; without that bound {points(whole)};"
        f" probability of improvement {found.improvement_probability:.1%};"
        f" look {looks + 1} at this test set, tested at {alpha:.2%}",
    )


def _detectable(found: Comparison) -> list[RuleOutcome]:
    if found.detectable is None:
        return []
    return [
        RuleOutcome(
            rule="detectable",
            outcome="info",
            figure=found.detectable,
            bound=None,
            reason="the smallest true improvement that this test set finds with 80 % probability is"
            f" {points(found.detectable, sign=False)}",
        )
    ]


def _mapsswe(contest: Contest) -> RuleOutcome:
    test = mapsswe(
        [normalize(row.reference) for row in contest.champion_rows],
        [normalize(row.hypothesis) for row in contest.champion_rows],
        [normalize(row.hypothesis) for row in contest.challenger_rows],
    )
    return RuleOutcome(
        rule="mapsswe",
        outcome="info",
        figure=test.statistic,
        bound=None,
        probability=test.probability,
        reason=f"cross-check: MAPSSWE W = {test.statistic:.2f} over {test.segments} segments,"
        f" two-sided p = {test.probability:.3g}",
    )


def medical(contest: Contest) -> list[RuleOutcome]:
    """Medical WER surely not higher by more than the margin; of few errors, not surely higher."""
    policy, terms = contest.policy, contest.champion.report.medical.reference_length
    if terms < policy.min_medical_terms:
        reason = f"only {terms} medical terms in the references: too few to judge by"
        return [
            RuleOutcome(
                rule="medical-terms",
                outcome="info",
                figure=terms,
                bound=policy.min_medical_terms,
                reason=reason,
            )
        ]
    found = contest.compare("medical", contest.guard_alpha or policy.guard_alpha)
    before = contest.champion.report.medical
    margin = max(policy.medical_margin, policy.harm_ratio * before.error_rate)
    rule = non_inferior("medical-terms", "medical WER", found, margin)
    rule = _named(rule, contest, "medical")
    few = f"{before.errors} errors of the champion are too few to prove the absence of harm"
    return [informing(rule, few) if before.errors < policy.min_findings else rule]


def general_speech(contest: Contest) -> list[RuleOutcome]:
    """WER on everyday speech surely not much higher; of few words, not surely higher."""
    if contest.guard is None:
        return []
    guard, policy = contest.guard, contest.policy
    found = compare_measure(
        guard.champion, guard.challenger, "words", alpha=policy.guard_alpha, policy=policy
    )
    rule = non_inferior("general-speech", "WER on general speech", found, policy.general_margin)
    words = guard.champion.report.words.reference_length
    few = f"{words} words are too few to prove the absence of harm"
    return [informing(rule, few) if words < policy.min_guarded_words else rule]


def slices(contest: Contest) -> list[RuleOutcome]:
    """No slice surely worse; the large ones surely not much worse."""
    policy = contest.policy
    found = contest.slices
    if not found:
        return []
    harmed = [part for part in found if part.significant]
    large = [part for part in found if part.words >= policy.min_guarded_words]
    unproven = [part for part in large if part.interval.high >= policy.slice_margin]
    worst = harmed[0] if harmed else unproven[0] if unproven else found[0]
    return [
        RuleOutcome(
            rule="slices",
            outcome="fail" if harmed else "inconclusive" if unproven else "pass",
            figure=worst.difference,
            bound=policy.slice_margin,
            interval=worst.interval,
            reason=_slices_reason(found, harmed, unproven, worst),
        )
    ]


def _slices_reason(
    found: Sequence[SliceComparison],
    harmed: Sequence[SliceComparison],
    unproven: Sequence[SliceComparison],
    worst: SliceComparison,
) -> str:
    what = f"{worst.name} {worst.value}: {points(worst.difference)} over {worst.words} words"
    if harmed:
        return f"{len(harmed)} of {len(found)} slices surely worse, corrected for many; {what}"
    if unproven:
        return f"{len(unproven)} large slices not surely free of harm; {what}"
    return f"none of {len(found)} slices surely worse, corrected for many; worst: {what}"


def worst_speakers(contest: Contest) -> list[RuleOutcome]:
    """The worst-served tenth of the speakers surely not served much worse."""
    policy = contest.policy
    if len(contest.speakers) < MIN_BLOCKS:
        return []
    worst = compare_worst_speakers(
        bounded(paired(contest.champion_rows, contest.challenger_rows, "words")),
        block_views(contest.champion_rows)["speaker"],
        alpha=policy.guard_alpha,
        replicates=policy.replicates,
        seed=policy.seed,
    )
    rule = non_inferior(
        "worst-speakers",
        "WER of the worst tenth of the speakers",
        worst.comparison,
        policy.slice_margin,
    )
    few = f"{worst.words} words are too few to judge by"
    return [informing(rule, few) if worst.words < policy.min_guarded_words else rule]


def latency(contest: Contest) -> list[RuleOutcome]:
    """Where a bound is set: the time of one utterance must not grow by more than it."""
    bound = contest.policy.max_latency_ratio
    champion_s = contest.champion.report.latency_p50_s
    challenger_s = contest.challenger.report.latency_p50_s
    if bound is None:
        return []
    if not champion_s or not challenger_s:
        return [
            RuleOutcome(
                rule="latency",
                outcome="inconclusive",
                figure=None,
                bound=bound,
                reason="a bound is set, and the time of one utterance was not measured for both"
                " models: evaluate them again, or leave max_latency_ratio out of the policy",
            )
        ]
    return [
        RuleOutcome(
            rule="latency",
            outcome="pass" if challenger_s <= bound * champion_s else "fail",
            figure=challenger_s / champion_s,
            bound=bound,
            reason=f"one utterance takes {challenger_s:.2f} s (median), {champion_s:.2f} s before",
        )
    ]


CLEAREST = 3
"""Utterances that a rule names where it stands in the way."""


def _named(rule: RuleOutcome, contest: Contest, measure: Measure) -> RuleOutcome:
    """A rule that stands in the way, with the utterances in which the challenger loses most."""
    if rule.outcome not in ("fail", "inconclusive"):
        return rule
    pairs = zip(contest.champion_rows, contest.challenger_rows, strict=True)
    lost = [(b.counts(measure).errors - a.counts(measure).errors, b.id) for a, b in pairs]
    worst = sorted((-more, key) for more, key in lost if more > 0)
    return rule.model_copy(update={"utterances": tuple(key for _, key in worst[:CLEAREST])})


def informing(rule: RuleOutcome, few: str) -> RuleOutcome:
    """The rule where there is too little to prove the absence of harm by: proven harm still counts.

    `few` says what there is too little of.
    """
    if rule.outcome != "inconclusive":
        return rule
    return rule.model_copy(update={"outcome": "info", "reason": f"{rule.reason}; {few}"})


def non_inferior(rule: str, what: str, found: Comparison, margin: float) -> RuleOutcome:
    """Pass when the increase is surely below the margin; fail when it is surely above zero."""
    passed = found.interval.high < margin
    worse = "fail" if found.interval.low > 0 else "inconclusive"
    return RuleOutcome(
        rule=rule,
        outcome="pass" if passed else worse,
        figure=found.difference,
        bound=margin,
        interval=found.interval,
        reason=f"{what} changed by {points(found.difference)} ({interval_text(found)}); it must"
        f" surely rise by less than {points(margin, sign=False)}",
    )

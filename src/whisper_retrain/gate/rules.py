"""The rules of the gate, each a function from a contest to its outcome; pure.

A rule either proves something (`pass`), finds it broken (`fail`), cannot tell (`inconclusive`) or
only says what is (`info`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from whisper_retrain.clinical import LANGUAGES, SEVERITY, Names
from whisper_retrain.evaluation.lexicon import Lexicon, default_lexicon
from whisper_retrain.evaluation.rows import Evaluation, Row
from whisper_retrain.gate.ledger import alpha_of_look
from whisper_retrain.gate.mapsswe import mapsswe
from whisper_retrain.gate.measures import Measure, block_views, compare_measure, ordered, paired
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.safety import Safety, compare_safety
from whisper_retrain.gate.slices import SliceComparison, compare_slices
from whisper_retrain.gate.statistics import MIN_BLOCKS, Comparison
from whisper_retrain.gate.terms import TermChange, term_changes
from whisper_retrain.gate.wording import interval_text, points
from whisper_retrain.gate.worst import compare_worst_speakers
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import Pair, RuleOutcome


@dataclass(frozen=True)
class Contest:
    """Champion against challenger under a policy: what every rule looks at."""

    champion: Evaluation
    """Its evaluation."""
    challenger: Evaluation
    """Its evaluation."""
    policy: GatePolicy
    """The rules' bounds."""
    looks: int = 0
    """Earlier looks at this test set within a year."""
    guard: Pair[Evaluation] | None = None
    """Both on the general-speech test set."""
    lexicon: Lexicon = field(default_factory=default_lexicon)
    """Medical terms, the policy's own ones too."""
    language: str = "en"
    """Of the transcripts, as Whisper names it."""

    @cached_property
    def champion_rows(self) -> list[Row]:
        """The champion's rows by id."""
        return ordered(self.champion)

    @cached_property
    def challenger_rows(self) -> list[Row]:
        """The challenger's rows by id."""
        return ordered(self.challenger)

    @cached_property
    def slices(self) -> list[SliceComparison]:
        """The parts of the test set that are looked at, the worst change first."""
        alpha, least = self.policy.guard_alpha, self.policy.min_slice_words
        return compare_slices(
            self.champion_rows, self.challenger_rows, alpha=alpha, min_words=least
        )

    @cached_property
    def terms(self) -> list[TermChange]:
        """Every medical term of the references, the most forgotten first."""
        return term_changes(self.champion_rows, self.challenger_rows, self.lexicon)

    @cached_property
    def safety(self) -> Safety | None:
        """What a clinician would notice; None for a language without a clinical view."""
        if self.language not in LANGUAGES:
            return None
        severities = {**SEVERITY, **self.policy.severities}
        names = Names(self.lexicon.tiers)
        return compare_safety(self.champion_rows, self.challenger_rows, names, severities)

    @property
    def speakers(self) -> set[str]:
        """Known speakers of the test set."""
        return {row.speaker for row in self.champion_rows if row.speaker}

    def compare(self, measure: Measure, alpha: float) -> Comparison:
        """Challenger against champion on one measure."""
        return compare_measure(
            self.champion, self.challenger, measure, alpha=alpha, policy=self.policy
        )


def test_set_size(contest: Contest) -> list[RuleOutcome]:
    """Enough words, and enough speakers where speakers are known."""
    words = contest.champion.report.words.reference_length
    speakers, policy = len(contest.speakers), contest.policy
    rules = [
        RuleOutcome(
            rule="test-set-size",
            outcome="pass" if words >= policy.min_words else "inconclusive",
            figure=words,
            bound=policy.min_words,
            reason=f"the test set has {words} reference words, {policy.min_words} are needed",
        )
    ]
    if speakers:
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


def improvement(contest: Contest) -> list[RuleOutcome]:
    """WER surely lower, by enough to be worth it; what could have been found; MAPSSWE beside."""
    policy = contest.policy
    alpha = alpha_of_look(contest.looks + 1, policy.alpha, policy.planned_looks)
    if not alpha:
        return [_used_up(contest.looks, policy)]
    found = contest.compare("words", alpha)
    return [
        _better(found, contest.looks, alpha),
        RuleOutcome(
            rule="least-improvement",
            outcome="pass" if found.difference <= -policy.min_improvement else "fail",
            figure=found.difference,
            bound=-policy.min_improvement,
            reason=f"WER changed by {points(found.difference)}, and must fall by at least"
            f" {points(policy.min_improvement, sign=False)}",
        ),
        *_detectable(found),
        _mapsswe(contest),
    ]


def _used_up(looks: int, policy: GatePolicy) -> RuleOutcome:
    return RuleOutcome(
        rule="improvement",
        outcome="inconclusive",
        figure=looks,
        bound=policy.planned_looks,
        reason=f"the test set is used up: it was looked at {looks} times within a year,"
        f" {policy.planned_looks} were planned; freeze a new one",
    )


def _better(found: Comparison, looks: int, alpha: float) -> RuleOutcome:
    worse = "fail" if found.difference >= 0 else "inconclusive"
    return RuleOutcome(
        rule="improvement",
        outcome="pass" if found.interval.high < 0 else worse,
        figure=found.difference,
        bound=0.0,
        interval=found.interval,
        probability=found.improvement_probability,
        reason=f"WER changed by {points(found.difference)} ({interval_text(found)});"
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
    """Medical WER surely not higher by more than the margin."""
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
    found = contest.compare("medical", policy.guard_alpha)
    return [non_inferior("medical-terms", "medical WER", found, policy.medical_margin)]


def general_speech(contest: Contest) -> list[RuleOutcome]:
    """WER on everyday speech surely not higher by more than the margin."""
    if contest.guard is None:
        return []
    guard, policy = contest.guard, contest.policy
    found = compare_measure(
        guard.champion, guard.challenger, "words", alpha=policy.guard_alpha, policy=policy
    )
    return [non_inferior("general-speech", "WER on general speech", found, policy.general_margin)]


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
        paired(contest.champion_rows, contest.challenger_rows, "words"),
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
    if worst.words < policy.min_guarded_words and rule.outcome == "inconclusive":
        small = f"; {worst.words} words are too few to judge by"
        return [rule.model_copy(update={"outcome": "info", "reason": rule.reason + small})]
    return [rule]


def latency(contest: Contest) -> list[RuleOutcome]:
    """Where a bound is set: the time of one utterance must not grow by more than it."""
    bound = contest.policy.max_latency_ratio
    champion_s = contest.champion.report.latency_p50_s
    challenger_s = contest.challenger.report.latency_p50_s
    if bound is None or not champion_s or not challenger_s:
        return []
    return [
        RuleOutcome(
            rule="latency",
            outcome="pass" if challenger_s <= bound * champion_s else "fail",
            figure=challenger_s / champion_s,
            bound=bound,
            reason=f"one utterance takes {challenger_s:.2f} s (median), {champion_s:.2f} s before",
        )
    ]


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

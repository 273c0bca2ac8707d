"""The rules about single errors that matter: safety findings, broken terms, hallucination; pure."""

from __future__ import annotations

from math import comb

from whisper_retrain.clinical import KINDS, LANGUAGES
from whisper_retrain.gate.rules import Contest
from whisper_retrain.gate.safety import SafetyChange
from whisper_retrain.gate.terms import HIGH_RISK, TermChange
from whisper_retrain.gate.wording import listing
from whisper_retrain.records import ProbeResult, RuleOutcome, RuleVerdict

WEIGHT = {"treatment": "treatment", "meaning": "meaning", "notable": "nothing of weight"}
"""What a finding of a severity changes."""
RIGHT_UNDER_CHAMPION, RIGHT_UNDER_CHALLENGER = 0.9, 0.5
"""A term is broken that was right in so many cases and is right in no more than so many."""
KIND_INCREASE = 0.5
"""Share of one kind of probe newly hallucinated that rejects on its own."""
WORDS_INCREASE = 3.0
"""Words more per probe, on average, that reject."""


def safety(contest: Contest) -> list[RuleOutcome]:
    """For each kind of finding that could be: not more utterances newly wrong than put right.

    A language without a clinical view is inconclusive, unless the policy waives the rule by name.
    """
    if contest.safety is None:
        waived = "safety" in contest.policy.waived
        return [
            RuleOutcome(
                rule="safety",
                outcome="info" if waived else "inconclusive",
                figure=None,
                bound=None,
                reason=f"there is no clinical view of the language {contest.language!r}"
                f" ({', '.join(sorted(LANGUAGES))}): nothing is seen of doses, sides, negations;"
                f" {'waived by' if waived else 'to go on without, name `safety` in `waived` of'}"
                " the policy",
            )
        ]
    changes = contest.safety.changes
    return [_safety_rule(one, contest) for one in changes if one.at_risk or one.new or one.fixed]


def _safety_rule(change: SafetyChange, contest: Contest) -> RuleOutcome:
    policy = contest.policy
    more = len(change.new) - len(change.fixed)
    allowed = max(1, int(policy.safety_share * change.at_risk))
    chance = sign_test(len(change.new), len(change.fixed))
    surely = more > 0 and chance < policy.guard_alpha / len(KINDS)
    outcome: RuleVerdict = "fail" if surely else "inconclusive" if more > allowed else "pass"
    if change.severity == "notable" and outcome != "pass":
        outcome = "info"
    return RuleOutcome(
        rule=f"safety-{change.kind}",
        outcome=outcome,
        figure=more,
        bound=allowed,
        probability=chance,
        utterances=change.new,
        reason=f"{change.kind} (changes {WEIGHT[change.severity]}): {change.champion} utterances"
        f" wrong under the champion, {change.challenger} under the challenger,"
        f" {len(change.new)} of them new ({listing(change.new) or 'none'})",
    )


def sign_test(new: int, fixed: int) -> float:
    """Probability of `new` or more out of all changes, were each as likely new as fixed.

    The exact one-sided form of McNemar's test.
    """
    changed = new + fixed
    ways: int = sum(comb(changed, k) for k in range(new, changed + 1))
    return float(ways / 2**changed)


def newly_broken(contest: Contest) -> list[RuleOutcome]:
    """High-risk terms that the champion got right and the challenger does not."""
    policy = contest.policy
    watched = [
        change
        for change in contest.terms
        if change.tier in HIGH_RISK and change.occurrences >= policy.min_term_occurrences
    ]
    sure = policy.guard_alpha / max(1, len(watched))
    surely = [change for change in watched if _chance(change) < sure]
    broken = [change for change in watched if change in surely or _is_broken(change)]
    named = [f"{c.term} ({c.champion} -> {c.challenger} of {c.occurrences})" for c in broken]
    return [
        RuleOutcome(
            rule="newly-broken-terms",
            outcome="fail" if surely else "inconclusive" if broken else "pass",
            figure=len(broken),
            bound=0,
            utterances=tuple(row for change in broken for row in change.new),
            reason=f"of {len(watched)} drugs and diagnoses said at least"
            f" {policy.min_term_occurrences} times, newly broken: {listing(named) or 'none'}",
        )
    ]


def _chance(change: TermChange) -> float:
    return sign_test(len(change.new), len(change.fixed))


def _is_broken(change: TermChange) -> bool:
    return (
        change.champion >= RIGHT_UNDER_CHAMPION * change.occurrences
        and change.challenger <= RIGHT_UNDER_CHALLENGER * change.occurrences
    )


def hallucination(contest: Contest) -> list[RuleOutcome]:
    """On the probes, hardly more text than the champion puts out."""
    champion = contest.champion.report.probes
    challenger = contest.challenger.report.probes
    if not champion or not challenger:
        return []
    kinds = sorted(champion.keys() & challenger.keys())
    grown = [
        kind for kind in kinds if _share(challenger[kind]) - _share(champion[kind]) >= KIND_INCREASE
    ]
    count = sum(challenger[kind].utterances for kind in kinds)
    more = (
        sum(challenger[kind].hallucinated - champion[kind].hallucinated for kind in kinds) / count
    )
    words = sum(
        (challenger[kind].mean_words - champion[kind].mean_words) * challenger[kind].utterances
        for kind in kinds
    )
    bad = grown or more > contest.policy.probe_margin or words / count > WORDS_INCREASE
    return [
        RuleOutcome(
            rule="hallucination",
            outcome="fail" if bad else "pass",
            figure=more,
            bound=contest.policy.probe_margin,
            reason=f"text where nothing was said: {more:+.0%} of {count} probes,"
            f" {words / count:+.1f} words each; newly on: {listing(grown) or 'none'}",
        )
    ]


def _share(probe: ProbeResult) -> float:
    return probe.hallucinated / probe.utterances if probe.utterances else 0.0

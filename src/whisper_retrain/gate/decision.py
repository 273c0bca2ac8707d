"""May the challenger become champion? A pure function of two evaluations and a policy.

Knows nothing of storage, models or the Hub. Every rule is applied, whatever the others say; a
`fail` rejects, an `inconclusive` one leaves the champion where it is without calling the
challenger worse, and only when all pass is the answer `promote`.
"""

from __future__ import annotations

from collections.abc import Sequence

from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.comparable import check_comparable
from whisper_retrain.gate.ledger import alpha_of_look
from whisper_retrain.gate.measures import Measure, compare_measure
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.statistics import Comparison
from whisper_retrain.records import Decision, Outcome, RuleOutcome


def decide(
    champion: Evaluation,
    challenger: Evaluation,
    policy: GatePolicy,
    *,
    looks: int = 0,
    first_champion: bool = False,
) -> Decision:
    """The decision, with every rule's figure, interval, bound and outcome.

    `looks` counts the earlier looks at this test set within a year. For a first champion,
    `champion` is the evaluation of the base model. Raises InputError or IntegrityError for
    evaluations that cannot be compared.
    """
    check_comparable(champion, challenger)
    rules = [
        _enough_words(champion, policy),
        *_improvement(champion, challenger, policy, looks),
        _medical(champion, challenger, policy),
        *_shadow(policy),
    ]
    outcome = _verdict(rules)
    return Decision(
        outcome=outcome,
        champion_report=champion.report.digest,
        challenger_report=challenger.report.digest,
        test_set_digest=champion.report.test_set_digest,
        policy_digest=policy.digest,
        rules=tuple(rules),
        reasons=_reasons(rules, outcome),
        first_champion=first_champion,
    )


def _enough_words(champion: Evaluation, policy: GatePolicy) -> RuleOutcome:
    words = champion.report.words.reference_length
    return RuleOutcome(
        rule="test-set-size",
        outcome="pass" if words >= policy.min_words else "inconclusive",
        figure=words,
        bound=policy.min_words,
        reason=f"the test set has {words} reference words, {policy.min_words} are needed",
    )


def _improvement(
    champion: Evaluation, challenger: Evaluation, policy: GatePolicy, looks: int
) -> list[RuleOutcome]:
    alpha = alpha_of_look(looks + 1, policy.alpha, policy.planned_looks)
    if not alpha:
        return [_used_up(looks, policy)]
    found = compare_measure(champion, challenger, "words", alpha=alpha, policy=policy)
    return [
        _better(found, looks, alpha),
        _worthwhile(found, policy),
        RuleOutcome(
            rule="detectable",
            outcome="info",
            figure=found.detectable,
            bound=None,
            reason="the smallest true improvement that this test set finds with 80 % probability"
            f" is {points(found.detectable)}",
        ),
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
    better = found.interval.high < 0
    none = found.difference >= 0
    return RuleOutcome(
        rule="improvement",
        outcome="pass" if better else "fail" if none else "inconclusive",
        figure=found.difference,
        bound=0.0,
        interval=found.interval,
        reason=f"WER changed by {points(found.difference)} ({interval_text(found)} over"
        f" {found.blocks} {found.view} blocks); probability of improvement"
        f" {found.improvement_probability:.1%}; look {looks + 1} at this test set, tested at"
        f" {alpha:.3%}",
    )


def _worthwhile(found: Comparison, policy: GatePolicy) -> RuleOutcome:
    enough = found.difference <= -policy.min_improvement
    return RuleOutcome(
        rule="least-improvement",
        outcome="pass" if enough else "fail",
        figure=found.difference,
        bound=-policy.min_improvement,
        reason=f"WER must fall by at least {points(policy.min_improvement, sign=False)}",
    )


def _medical(champion: Evaluation, challenger: Evaluation, policy: GatePolicy) -> RuleOutcome:
    terms = champion.report.medical.reference_length
    if terms < policy.min_medical_terms:
        return RuleOutcome(
            rule="medical-terms",
            outcome="info",
            figure=terms,
            bound=policy.min_medical_terms,
            reason=f"only {terms} medical terms in the references: too few to judge by",
        )
    found = compare_measure(
        champion, challenger, "medical", alpha=policy.guard_alpha, policy=policy
    )
    return non_inferior("medical-terms", "medical WER", found, policy.medical_margin)


def non_inferior(rule: str, what: str, found: Comparison, margin: float) -> RuleOutcome:
    """Pass when the increase is surely below the margin; fail when it is surely above zero."""
    passed = found.interval.high < margin
    worse = found.interval.low > 0 and not passed
    return RuleOutcome(
        rule=rule,
        outcome="pass" if passed else "fail" if worse else "inconclusive",
        figure=found.difference,
        bound=margin,
        interval=found.interval,
        reason=f"{what} changed by {points(found.difference)} ({interval_text(found)} over"
        f" {found.blocks} {found.view} blocks); it must surely rise by less than"
        f" {points(margin, sign=False)}",
    )


def _shadow(policy: GatePolicy) -> list[RuleOutcome]:
    if not policy.shadow:
        return []
    return [
        RuleOutcome(
            rule="shadow",
            outcome="inconclusive",
            figure=None,
            bound=None,
            reason="the policy is in shadow mode: it reports and never promotes",
        )
    ]


def _verdict(rules: Sequence[RuleOutcome]) -> Outcome:
    outcomes = {rule.outcome for rule in rules}
    if "fail" in outcomes:
        return "reject"
    return "inconclusive" if "inconclusive" in outcomes else "promote"


def _reasons(rules: Sequence[RuleOutcome], outcome: Outcome) -> tuple[str, ...]:
    """What decided: the rules that stood in the way, or for a promotion those that passed."""
    wanted = {"promote": {"pass"}, "reject": {"fail"}, "inconclusive": {"inconclusive"}}[outcome]
    return tuple(f"{rule.rule}: {rule.reason}" for rule in rules if rule.outcome in wanted)


def points(rate: float, *, sign: bool = True) -> str:
    """A difference of rates in percentage points, as people say it."""
    return f"{100 * rate:{'+' if sign else ''}.2f} points"


def interval_text(found: Comparison) -> str:
    """The interval in points with its confidence."""
    low, high = 100 * found.interval.low, 100 * found.interval.high
    return f"{found.interval.confidence:.1%} interval {low:+.2f} to {high:+.2f}"


__all__ = ["Measure", "decide", "interval_text", "non_inferior", "points"]

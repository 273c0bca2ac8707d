"""May the challenger become champion? A pure function of two evaluations and a policy.

Knows nothing of storage, models or the Hub. Every rule is applied, whatever the others say; a
`fail` rejects, an `inconclusive` one leaves the champion where it is without calling the
challenger worse, and only when all pass is the answer `promote`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate import long_form, rules, safety_rules
from whisper_retrain.gate.comparable import check_comparable, check_models
from whisper_retrain.gate.contest import Contest
from whisper_retrain.gate.ledger import Standing, worth_a_look
from whisper_retrain.gate.plain import plain_words
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.safety import SafetyFinding
from whisper_retrain.gate.slices import SliceComparison
from whisper_retrain.gate.terms import TermChange
from whisper_retrain.records import (
    Counts,
    Decision,
    EvaluationReport,
    Job,
    Outcome,
    Pair,
    Record,
    RuleOutcome,
)

RULES = (
    rules.test_set_size,
    rules.improvement,
    rules.highest_wer,
    rules.medical,
    safety_rules.safety,
    safety_rules.newly_broken,
    safety_rules.hallucination,
    long_form.long_form,
    rules.runaways,
    rules.general_speech,
    rules.slices,
    rules.worst_speakers,
    rules.latency,
    rules.cross_check,
)


class DecisionJob(Job):
    """What a decision is asked of; raise the version when a rule would say something else."""

    stage: ClassVar[str] = "decide"
    version: ClassVar[str] = "v7"

    reports: Pair[EvaluationReport]
    """Of the two models."""
    baseline: EvaluationReport | None
    """Of the base model, for reading only, where it is not the champion."""
    guard: Pair[EvaluationReport] | None
    """Of the two on general speech, where there is such a test set."""
    policy: GatePolicy
    """The rules' bounds."""
    looks: Standing
    """What earlier looks have left of a year's errors."""
    first_champion: bool
    """Whether the comparison is with the base model."""
    language: str = "en"
    """Of the transcripts, as Whisper names it."""


class Differences(Record):
    """Where the challenger differs from the champion, as the gate measured it for its rules."""

    slices: tuple[SliceComparison, ...]
    """The worst change first; intervals and significance at the policy's guard error."""
    terms: tuple[TermChange, ...]
    """Medical terms, the policy's own ones too; the most forgotten first."""
    findings: tuple[SafetyFinding, ...] = ()
    """What a clinician would notice in the challenger's transcripts, the gravest first."""
    hidden: Pair[int] | None = None
    """Utterances with findings that WER's normalizer hides; None where nothing was looked for."""

    added: ClassVar[frozenset[str]] = frozenset({"findings", "hidden"})


@dataclass(frozen=True)
class Judgement:
    """A decision, and what was measured on the way to it."""

    decision: Decision
    """What is to be done."""
    differences: Differences
    """What was measured on the way."""


def decide(
    champion: Evaluation,
    challenger: Evaluation,
    policy: GatePolicy,
    *,
    looks: int | Standing = 0,
    first_champion: bool = False,
    guard: Pair[Evaluation] | None = None,
    language: str = "en",
    validation: Pair[Counts] | None = None,
) -> Decision:
    """The decision of `judge` alone."""
    judgement = judge(
        champion,
        challenger,
        policy,
        looks=looks,
        first_champion=first_champion,
        guard=guard,
        language=language,
        validation=validation,
    )
    return judgement.decision


def judge(
    champion: Evaluation,
    challenger: Evaluation,
    policy: GatePolicy,
    *,
    looks: int | Standing = 0,
    first_champion: bool = False,
    guard: Pair[Evaluation] | None = None,
    language: str = "en",
    validation: Pair[Counts] | None = None,
) -> Judgement:
    """The decision with every rule's figure, interval, bound and outcome, and its differences.

    `looks` tells what earlier looks within a year have left (history/looks); a plain number of
    them: at a test set that never changed, all charged. `guard` holds both on general speech,
    `validation` the words of both on the validation data, where they were scored there. For a
    first champion, `champion` is the evaluation of the base model. Raises InputError or
    IntegrityError for evaluations that cannot be compared.
    """
    standing = looks if isinstance(looks, Standing) else Standing(looks=looks)
    lexicon = default_lexicon(policy.own_terms)
    check_comparable(champion, challenger, lexicon)
    if guard:
        check_comparable(guard.champion, guard.challenger, lexicon)
        check_models(Pair(champion=champion, challenger=challenger), guard)
    contest = Contest(
        champion,
        challenger,
        policy,
        standing=standing,
        guard=guard,
        lexicon=lexicon,
        language=language,
    )
    outcomes = [outcome for rule in RULES for outcome in rule(contest)] + _shadow(policy)
    outcomes += _validation(validation)
    verdict = _verdict(outcomes)
    decision = Decision(
        outcome=verdict,
        champion_report=champion.report.digest,
        challenger_report=challenger.report.digest,
        test_set_digest=champion.report.test_set_digest,
        policy_digest=policy.digest,
        rules=tuple(outcomes),
        reasons=_reasons(outcomes, verdict),
        first_champion=first_champion,
        plain=plain_words(outcomes, verdict),
        looks=standing.looks,
        share=standing.share,
        charged=standing.charged,
    )
    differences = Differences(
        slices=tuple(contest.slices),
        terms=tuple(contest.terms),
        findings=contest.safety.findings if contest.safety else (),
        hidden=contest.safety.hidden if contest.safety else None,
    )
    return Judgement(decision, differences)


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


def _validation(validation: Pair[Counts] | None) -> list[RuleOutcome]:
    """Where both were scored on validation data: the challenger must be better there, too."""
    if validation is None:
        return []
    rates = validation.map(lambda counts: counts.error_rate)
    known = isfinite(rates.champion) and isfinite(rates.challenger)
    return [
        RuleOutcome(
            rule="validation",
            outcome="pass" if worth_a_look(validation) else "inconclusive",
            figure=rates.challenger - rates.champion if known else None,
            bound=0.0,
            reason=f"on the validation data the challenger's WER is {rates.challenger:.2%}, the"
            f" champion's {rates.champion:.2%}; a challenger that is no better there need not be"
            " looked at on the test set, and spends nothing",
        )
    ]


def _verdict(outcomes: Sequence[RuleOutcome]) -> Outcome:
    found = {outcome.outcome for outcome in outcomes}
    if "fail" in found:
        return "reject"
    return "inconclusive" if "inconclusive" in found else "promote"


def _reasons(outcomes: Sequence[RuleOutcome], verdict: Outcome) -> tuple[str, ...]:
    """What decided: the rules that stood in the way, or for a promotion those that passed."""
    wanted = {"promote": "pass", "reject": "fail", "inconclusive": "inconclusive"}[verdict]
    return tuple(f"{found.rule}: {found.reason}" for found in outcomes if found.outcome == wanted)

"""The decision's first lines are for people: what decided, and what would change it."""

from __future__ import annotations

from tests.fixtures.evaluation import make_evaluation
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.decision import decide
from whisper_retrain.gate.plain import plain_words
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.records import Interval, RuleOutcome

UNSURE = Interval(low=-0.03, high=0.01, confidence=0.96)


def outcome(
    name: str, verdict: str, figure: float | None = None, interval: Interval | None = None
) -> RuleOutcome:
    return RuleOutcome.model_validate(
        {"rule": name, "outcome": verdict, "figure": figure, "bound": None, "interval": interval,
         "reason": f"the reason of {name}"}
    )  # fmt: skip


def test_too_few_speakers_are_told_with_how_many_would_do() -> None:
    said = plain_words(
        [
            outcome("speakers", "pass", 6),
            outcome("improvement", "inconclusive", -0.012, UNSURE),
            outcome("detectable", "info", 0.018),
        ],
        "inconclusive",
    )
    assert said == (
        "The challenger may be better, and this test set is too small to tell: it made 1.2 points"
        " fewer errors, and only 1.8 or more would surely show.",
        "There are 6 speakers in the test set; with about 20, as much of each, an improvement of"
        " 1 point would show.",
    )


def test_a_used_up_test_set_is_told_as_such() -> None:
    first, *_ = plain_words([outcome("improvement", "inconclusive", 52)], "inconclusive")
    assert first == "The test set is used up for this year: it was looked at too often."


def test_harm_comes_with_what_to_listen_to() -> None:
    said = plain_words([outcome("safety-dose", "fail"), outcome("safety-all", "fail")], "reject")
    assert said[0].endswith("a clinician would act upon: dose.")
    assert said[-1].startswith("Listen to the utterances that the report names first")


def test_every_decision_says_something() -> None:
    said = "i have a sharp pain in my left knee"
    good = make_evaluation("a", [(said, said)] * 40, speakers=[f"s{n % 5}" for n in range(40)])
    decision = decide(good, good, GatePolicy(replicates=1000))
    assert decision.plain[0] == "The challenger makes as many errors as the champion, or more."


def test_a_promotion_is_one_sentence() -> None:
    (said,) = plain_words([outcome("improvement", "pass", -0.015, UNSURE)], "promote")
    assert said.startswith("The challenger makes fewer errors than the champion by 1.5 points")


def heard(name: str, wrong: int) -> Evaluation:
    said = [f"my cough number {n} is heavy" for n in range(60)]
    texts = [
        (one, one.replace("heavy", "x y z") if n < wrong else one) for n, one in enumerate(said)
    ]
    return make_evaluation(name, texts, speakers=[f"s{n % 6}" for n in range(60)])


def test_a_rule_that_blocks_names_its_three_clearest_utterances() -> None:
    decision = decide(heard("a", 0), heard("b", 30), GatePolicy(replicates=1000))
    rule = next(one for one in decision.rules if one.rule == "improvement")
    assert rule.outcome == "fail"
    assert len(rule.utterances) == 3

"""Harm is tested, not counted: paired, corrected, and only where it can be read."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.fixtures.evaluation import make_evaluation
from whisper_retrain.clinical import SEVERITY, Names
from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.decision import decide
from whisper_retrain.gate.ledger import Standing
from whisper_retrain.gate.measures import bounded, ordered
from whisper_retrain.gate.paired import Changes, holm, score_test, sign_test
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.safety import compare_safety
from whisper_retrain.gate.statistics import Paired
from whisper_retrain.records import RuleOutcome

SIDES = ("left", "right")
SAID = "i have a sharp pain in my {} knee when i walk upstairs number {}"


def changes(new: int, fixed: int, same: int = 0, blocks: int = 0, wrong: int = 0) -> Changes:
    values = np.array([1.0] * new + [-1.0] * fixed + [0.0] * same)
    labels = [n % blocks for n in range(len(values))] if blocks else list(range(len(values)))
    return Changes(values, {"speaker": labels}, wrong)


def test_churn_is_no_harm() -> None:
    """30 new and 30 put right: a plain count of either would have been far over 1 %."""
    assert changes(30, 30).by_chance > 0.5
    assert changes(30, 12).by_chance < 0.01


def test_what_one_speaker_had_bad_luck_with_is_not_proven_for_others() -> None:
    values = np.array([1.0] * 12 + [0.0] * 30)
    one_speaker = Changes(values, {"speaker": ["ann"] * 12 + ["ben", "cem", "dua"] * 10}, 0)
    assert one_speaker.by_chance == pytest.approx(1 / 2**12)
    assert one_speaker.by_blocks == score_test(np.array([12.0]))
    assert one_speaker.by_blocks > 0.15


def test_the_most_that_may_be_new_is_never_nothing() -> None:
    assert changes(0, 0, same=400).most(0.05) == pytest.approx(1.645, rel=0.01)
    assert changes(10, 10, same=400).most(0.05) == pytest.approx(1.65 * np.sqrt(20), rel=0.02)


def test_holms_correction_stops_at_the_first_that_chance_explains() -> None:
    assert holm([0.03, 0.01, 0.04, 0.015], 0.05) == [False, True, False, True]
    assert holm([], 0.05) == []


def test_sign_test_is_the_binomials_tail() -> None:
    assert sign_test(5, 0) == pytest.approx(1 / 32)
    assert sign_test(0, 0) == 1.0
    assert sign_test(2, 1) == pytest.approx(0.5)


def knees(
    name: str, wrong_side: float, gibberish: float, seed: int, count: int = 400
) -> Evaluation:
    """Sides are confused in a share of the utterances, or nothing of them can be read."""
    rng, texts = random.Random(seed), []
    for number in range(count):
        said = SAID.format(SIDES[number % 2], number)
        heard = said
        if rng.random() < gibberish:
            heard = f"lie haf a shop pane him I lift knit one I woke up stars {number}"
        elif rng.random() < wrong_side:
            heard = SAID.format(SIDES[1 - number % 2], number)
        texts.append((said, heard))
    speakers = [f"s{number % 20}" for number in range(count)]
    return make_evaluation(name, texts, speakers=speakers)


def rule(champion: Evaluation, challenger: Evaluation, name: str, looks: int = 0) -> RuleOutcome:
    decision = decide(champion, challenger, GatePolicy(replicates=1000), looks=looks)
    return next(one for one in decision.rules if one.rule == name)


def test_a_champion_of_gibberish_does_not_block_the_better_one() -> None:
    """Where nothing of a side can be read nobody is misled: there is nothing to compare."""
    champion = knees("champion", 0.02, 0.8, 1)
    challenger = knees("challenger", 0.05, 0.0, 2)
    found = rule(champion, challenger, "safety-laterality")
    assert found.outcome == "pass", found.reason
    assert "more where the champion's text cannot be read" in found.reason
    decision = decide(champion, challenger, GatePolicy(replicates=1000))
    assert decision.outcome == "promote", decision.reasons


def test_confused_sides_are_caught_whatever_the_champion_wrote_elsewhere() -> None:
    champion = knees("champion", 0.01, 0.3, 1)
    challenger = knees("challenger", 0.10, 0.0, 2)
    assert rule(champion, challenger, "safety-laterality").outcome == "fail"


def test_where_findings_are_many_the_absence_of_harm_must_be_proven() -> None:
    """60 of 400 under the champion: 66 are not surely less than a third more."""
    champion = knees("champion", 0.15, 0.0, 1)
    challenger = knees("challenger", 0.165, 0.0, 2)
    found = rule(champion, challenger, "safety-all")
    assert found.outcome == "inconclusive"
    assert found.probability is not None
    assert found.probability > 0.05, "chance explains it, and so it does a harm"


def test_an_utterance_counts_once_in_all_kinds_together() -> None:
    said = "take metformin 500 mg and lisinopril 10 mg for the left knee"
    heard = "take metformin 10 mg and lisinopril 500 mg for the right knee"
    right = make_evaluation("a", [(said, said)] * 3)
    wrong = make_evaluation("b", [(said, heard)] * 3)
    names = Names(default_lexicon().tiers)
    found = compare_safety(ordered(right), ordered(wrong), names, SEVERITY)
    assert len(found.pooled.new) == found.pooled.challenger == 3
    assert sum(len(one.new) for one in found.changes) == 6


def test_the_clearest_utterances_come_first() -> None:
    said = ["pain in the left knee today"] * 2
    before = make_evaluation("a", list(zip(said, said, strict=True)))
    heard = ["pin in a right knee to day", "pain in the right knee today"]
    after = make_evaluation("b", list(zip(said, heard, strict=True)))
    names = Names(default_lexicon().tiers)
    found = compare_safety(ordered(before), ordered(after), names, SEVERITY)
    assert found.pooled.new == ("u00001", "u00000")


def test_guards_that_protect_people_share_a_years_error() -> None:
    looks = [Standing(looks=n, charged=n).guard_share(52) for n in range(52)]
    assert sum(looks) == pytest.approx(1)
    assert looks[0] == pytest.approx(0.4)
    unharmed = Standing(looks=20, charged=0)
    assert unharmed.guard_share(52) == looks[0], "looks that found nothing better spent nothing"
    assert Standing(looks=20).guard_share(52) == looks[20]


def test_one_runaway_does_not_outweigh_the_rest() -> None:
    words = np.full(4, 10.0)
    found = bounded(Paired(np.array([2.0, 200, 0, 3]), np.array([1.0, 0, 0, 3]), words))
    assert found.champion_errors.tolist() == [2, 10, 0, 3]
    empty = bounded(Paired(np.array([7.0]), np.array([0.0]), np.zeros(1)))
    assert empty.champion_errors.tolist() == [1]


def running_away(name: str, count: int, rate: float, seed: int) -> Evaluation:
    rng, texts = random.Random(seed), []
    for number in range(400):
        words = [f"word{number}{place}" for place in range(10)]
        heard = [w if rng.random() > rate else f"{w}x" for w in words]
        if number < count:
            heard = heard[:3] + ["and", "so", "on", "and", "then"] * 20
        texts.append((" ".join(words), " ".join(heard)))
    return make_evaluation(name, texts, speakers=[f"s{n % 20}" for n in range(400)])


def test_runaways_and_repetitions_have_a_rule_of_their_own() -> None:
    champion = running_away("a", 0, 0.3, 1)
    better, worse = running_away("b", 0, 0.1, 2), running_away("b", 30, 0.1, 2)
    assert rule(champion, better, "runaways").outcome == "pass"
    found = rule(champion, worse, "runaways")
    assert found.outcome == "fail"
    assert found.utterances[0] == "u00000"


def test_a_gain_is_found_though_some_utterances_run_away() -> None:
    champion, challenger = running_away("a", 2, 0.3, 1), running_away("b", 2, 0.2, 2)
    found = rule(champion, challenger, "improvement")
    assert found.outcome == "pass"
    assert "without that bound" in found.reason


def test_nobody_is_served_by_every_second_word_wrong() -> None:
    decision = decide(knees("a", 0.0, 1.0, 1), knees("b", 0.0, 0.7, 2), GatePolicy(replicates=1000))
    assert decision.outcome == "inconclusive"
    assert any(reason.startswith("highest-wer") for reason in decision.reasons)

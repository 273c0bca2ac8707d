"""What stands between a better WER and a promotion: safety, terms, probes, slices, speakers."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from tests.fixtures.evaluation import make_evaluation
from tests.fixtures.planted import PLANTED, better, caught
from whisper_retrain.clinical import SEVERITY, Names
from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.evaluation.rows import Evaluation, Row
from whisper_retrain.gate.decision import decide
from whisper_retrain.gate.measures import ordered
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.safety import Safety, compare_safety
from whisper_retrain.gate.slices import (
    SliceComparison,
    compare_slices,
    duration_slice,
    mark_significant,
    noise_slice,
)
from whisper_retrain.gate.statistics import Paired
from whisper_retrain.gate.terms import term_changes
from whisper_retrain.gate.worst import compare_worst_speakers
from whisper_retrain.records import Interval, Pair, RuleOutcome


def test_the_challenger_without_a_fault_is_promoted() -> None:
    decision = better()
    assert decision.outcome == "promote", decision.reasons


@pytest.mark.parametrize("fault", PLANTED, ids=lambda name: name.replace(" ", "-"))
def test_a_planted_fault_is_caught(fault: str) -> None:
    assert caught(PLANTED[fault])


def rows_of(*texts: tuple[str, str]) -> list[Row]:
    return ordered(make_evaluation("model", list(texts)))


def compared(champion: list[Row], challenger: list[Row]) -> Safety:
    return compare_safety(champion, challenger, Names(default_lexicon().tiers), SEVERITY)


def test_safety_changes_name_the_utterances() -> None:
    champion = rows_of(("no pain", "no pain"), ("no fever", "fever"), ("left arm", "left arm"))
    challenger = rows_of(("no pain", "pain"), ("no fever", "no fever"), ("left arm", "left arm"))
    changes = {one.kind: one for one in compared(champion, challenger).changes}
    negation = changes["negation"]
    assert (negation.at_risk, negation.champion, negation.challenger) == (2, 1, 1)
    assert (negation.new, negation.fixed) == (("u00000",), ("u00001",))
    assert changes["laterality"].at_risk == 1
    assert changes["dose"].at_risk == 0


def test_findings_are_told_the_gravest_first_and_new_ones_before_old() -> None:
    said = ("no pain", "left arm", "left leg", "at 8 am")
    champion = rows_of(*zip(said, ("no pain", "right arm", "left leg", "at 8 am"), strict=True))
    challenger = rows_of(*zip(said, ("pain", "right arm", "right leg", "at 8 pm"), strict=True))
    found = compared(champion, challenger).findings
    assert [(one.severity, one.new, one.said) for one in found] == [
        ("treatment", True, "left leg became right leg"),
        ("treatment", False, "left arm became right arm"),
        ("meaning", True, "“no pain” became “pain”"),
        ("notable", True, "date: am became pm"),
    ]


def test_what_the_normalizer_hides_is_counted() -> None:
    rows = rows_of(("the lens is -2.5", "the lens is 2.5"), ("no pain", "no pain"))
    assert not rows[0].words.errors
    assert compared(rows, rows).hidden == Pair(champion=1, challenger=1)


def with_dates(swapped: bool) -> Evaluation:
    texts = [("come at 8 am", "come at 8 pm" if swapped else "come at 8 am")] * 40
    return make_evaluation("a", texts + [("i feel very well", "i feel well")] * 40)


def test_a_clinic_says_how_grave_a_kind_is() -> None:
    def outcome(policy: GatePolicy) -> str:
        decision = decide(with_dates(False), with_dates(True), policy)
        return next(rule.outcome for rule in decision.rules if rule.rule == "safety-date")

    assert outcome(GatePolicy()) == "info"
    assert outcome(GatePolicy(severities={"date": "treatment"})) == "fail"


def test_a_language_without_a_view_is_inconclusive_unless_it_is_waived() -> None:
    def rule(policy: GatePolicy) -> RuleOutcome:
        decision = decide(with_dates(False), with_dates(False), policy, language="de")
        (found,) = [rule for rule in decision.rules if rule.rule.startswith("safety")]
        return found

    assert rule(GatePolicy()).outcome == "inconclusive"
    assert "'de'" in rule(GatePolicy()).reason
    assert rule(GatePolicy(waived=("safety",))).outcome == "info"


def test_terms_learned_and_forgotten() -> None:
    said = ("metformin and warfarin", "metformin", "warfarin")
    before = rows_of(*zip(said, ("met form and warfarin", "metformin", "warfarin"), strict=True))
    after = rows_of(*zip(said, ("metformin and war farin", "metformin", "war"), strict=True))
    first, *_, last = term_changes(before, after, default_lexicon())
    assert (first.term, first.tier, first.champion, first.challenger) == ("warfarin", "drug", 2, 0)
    assert first.new == ("u00000", "u00002")
    assert (last.term, last.champion, last.challenger) == ("metformin", 1, 2)


def test_rows_fall_into_slices() -> None:
    (row,) = rows_of(("pain", "pain"))
    assert duration_slice(replace(row, duration_s=1.9)) == "under 2 s"
    assert duration_slice(replace(row, duration_s=2.0)) == "2 to 4 s"
    assert duration_slice(replace(row, duration_s=30.0)) == "from 8 s"
    assert noise_slice(replace(row, snr_db=None)) is None
    assert noise_slice(replace(row, snr_db=10.0)) == "under 15 dB"


def a_slice(harm: float) -> SliceComparison:
    interval = Interval(low=0, high=0, confidence=0.9)
    return SliceComparison(
        name="speaker", value="x", utterances=1, words=1, champion=0, challenger=0, difference=0,
        interval=interval, harm=harm,
    )  # fmt: skip


def test_holms_correction_worked_by_hand() -> None:
    """0.01 < 0.05 / 4, 0.015 < 0.05 / 3, but 0.03 > 0.05 / 2: the rest stays open."""
    found = mark_significant([a_slice(p) for p in (0.03, 0.01, 0.04, 0.015)], 0.05)
    assert [part.harm for part in found if part.significant] == [0.01, 0.015]


def noisy(name: str, rates: dict[str, float], seed: int, sentences: int = 60) -> Evaluation:
    rng = random.Random(seed)
    texts, speakers = [], []
    for number in range(sentences):
        for speaker, rate in rates.items():
            words = [f"word{number}{place}" for place in range(10)]
            heard = [w if rng.random() > rate else f"{w}x" for w in words]
            texts.append((" ".join(words), " ".join(heard)))
            speakers.append(speaker)
    return make_evaluation(name, texts, speakers=speakers)


def test_equal_models_show_no_harmed_slice_however_many_there_are() -> None:
    rates = {f"s{number:03d}": 0.1 for number in range(100)}
    left, right = noisy("a", rates, 1, 12), noisy("b", rates, 2, 12)
    found = compare_slices(ordered(left), ordered(right), alpha=0.05, min_words=100)
    assert len(found) == 100
    assert found[0].difference > 0.05  # chance alone makes one look this bad
    assert not any(part.significant for part in found)


def test_general_speech_must_not_be_forgotten() -> None:
    speakers = ("ann", "ben", "cem", "dua")
    champion = noisy("a", dict.fromkeys(speakers, 0.3), 1)
    challenger = noisy("b", dict.fromkeys(speakers, 0.1), 2)
    forgetful = Pair(
        champion=noisy("a", dict.fromkeys(speakers, 0.1), 3),
        challenger=noisy("b", dict.fromkeys(speakers, 0.3), 1),
    )
    kept = Pair(
        champion=noisy("a", dict.fromkeys(speakers, 0.2), 3),
        challenger=noisy("b", dict.fromkeys(speakers, 0.1), 4),
    )
    assert decide(champion, challenger, GatePolicy(), guard=kept).outcome == "promote"
    decision = decide(champion, challenger, GatePolicy(), guard=forgetful)
    assert decision.outcome == "reject"
    assert decision.reasons[0].startswith("general-speech")


def test_little_general_speech_counts_only_when_it_is_proven_forgotten() -> None:
    speakers = ("ann", "ben", "cem", "dua")
    champion = noisy("a", dict.fromkeys(speakers, 0.3), 1)
    challenger = noisy("b", dict.fromkeys(speakers, 0.1), 2)
    said, misheard = ("no pain today", "no pain today"), ("no pain today", "no pane today")
    little = Pair(
        champion=make_evaluation("a", [said] * 8),
        challenger=make_evaluation("b", [*[said] * 7, misheard]),
    )
    decision = decide(champion, challenger, GatePolicy(), guard=little)
    assert decision.outcome == "promote"
    (rule,) = (one for one in decision.rules if one.rule == "general-speech")
    assert rule.outcome == "info"
    assert "24 words are too few" in rule.reason
    strict = GatePolicy(min_guarded_words=24)
    assert decide(champion, challenger, strict, guard=little).outcome == "inconclusive"
    forgotten = make_evaluation("b", [misheard] * 8)
    proven = Pair(champion=little.champion, challenger=forgotten)
    assert decide(champion, challenger, GatePolicy(), guard=proven).outcome == "reject"


def test_the_worst_served_are_chosen_anew_for_each_model() -> None:
    """20 speakers of 100 words: the worst two have 40 and 30 %, then 20 and 20 %."""
    champion = np.array([40, 30] + [5] * 18, dtype=np.float64)
    challenger = np.array([5, 5] + [20, 20] + [5] * 16, dtype=np.float64)
    pairs = Paired(champion, challenger, np.full(20, 100.0))
    found = compare_worst_speakers(pairs, range(20), alpha=0.05)
    assert found.comparison.difference == pytest.approx(0.20 - 0.35)
    assert found.words == 200


def test_speakers_can_be_demanded() -> None:
    rates = {"ann": 0.6, "ben": 0.6, "cem": 0.6}
    champion = noisy("a", rates, 1)
    challenger = noisy("b", dict.fromkeys(rates, 0.1), 2)
    assert decide(champion, challenger, GatePolicy()).outcome == "promote"
    decision = decide(champion, challenger, GatePolicy(min_speakers=4))
    assert decision.outcome == "inconclusive"
    assert decision.reasons[0].startswith("speakers: 3 speakers")


def test_slower_models_can_be_refused() -> None:
    rates = {"ann": 0.6, "ben": 0.6, "cem": 0.6}
    champion, challenger = noisy("a", rates, 1), noisy("b", dict.fromkeys(rates, 0.1), 2)
    timed = [
        replace(one, report=one.report.model_copy(update={"latency_p50_s": seconds}))
        for one, seconds in ((champion, 0.2), (challenger, 0.5))
    ]
    assert decide(*timed, GatePolicy()).outcome == "promote"
    assert decide(*timed, GatePolicy(max_latency_ratio=2.0)).outcome == "reject"

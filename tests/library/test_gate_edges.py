"""What nobody may decide on: each is refused by name, or inconclusive, and never promotes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.evaluation import make_evaluation
from whisper_retrain.errors import InputError, IntegrityError
from whisper_retrain.evaluation.rows import Evaluation, Row, rows_digest
from whisper_retrain.gate.decision import decide
from whisper_retrain.gate.ledger import alpha_of_look, worth_a_look
from whisper_retrain.gate.policy import GatePolicy, load_policy
from whisper_retrain.records import Counts, MadeUp, Pair, ProbeResult, RuleOutcome

SAID = [f"my cough number {n} is very heavy and i have mucus today" for n in range(80)]
SPEAKERS = [f"s{n % 8}" for n in range(80)]
POLICY = GatePolicy(replicates=1000)


def heard(name: str, wrong: int) -> Evaluation:
    """So many words of each utterance are wrong."""
    texts = []
    for number, said in enumerate(SAID):
        words = said.split()
        bad = wrong + number % 2
        texts.append((said, " ".join(f"{w}x" if n < bad else w for n, w in enumerate(words))))
    return make_evaluation(name, texts, speakers=SPEAKERS, phrases=SAID)


CHAMPION, CHALLENGER = heard("champion", 4), heard("challenger", 1)


def changed(one: Evaluation, change: Callable[[Row], Row], place: int = 3) -> Evaluation:
    """One row otherwise, and the report's digest as if it had always been so."""
    rows = [change(row) if number == place else row for number, row in enumerate(one.rows)]
    return Evaluation(one.report.model_copy(update={"rows_digest": rows_digest(rows)}), tuple(rows))


def reported(one: Evaluation, **changes: object) -> Evaluation:
    return Evaluation(one.report.model_copy(update=changes), one.rows)


def test_without_any_of_this_the_challenger_is_promoted() -> None:
    decision = decide(CHAMPION, CHALLENGER, POLICY)
    assert decision.outcome == "promote", decision.reasons


@pytest.mark.parametrize("name", ["raw", "characters", "medical"])
def test_every_count_of_the_report_is_that_of_the_rows(name: str) -> None:
    with pytest.raises(IntegrityError, match=f"challenger, {name}"):
        decide(CHAMPION, reported(CHALLENGER, **{name: Counts(hits=1)}), POLICY)


@pytest.mark.parametrize("name", ["runaways", "repetitions"])
def test_so_is_what_the_report_says_of_runaways(name: str) -> None:
    with pytest.raises(IntegrityError, match=f"challenger, {name}"):
        decide(CHAMPION, reported(CHALLENGER, **{name: 7}), POLICY)


def test_counts_must_be_those_of_the_texts() -> None:
    """Rows, report and digest agree, and still nobody wrote what the counts say."""
    better = changed(CHALLENGER, lambda row: replace(row, hypothesis="something else"))
    with pytest.raises(InputError, match="not those of its texts; at challenger, row u00003"):
        decide(CHAMPION, better, POLICY)


@pytest.mark.parametrize("side", [0, 1])
def test_an_id_that_comes_twice_is_named(side: int) -> None:
    pair = [CHAMPION, CHALLENGER]
    pair[side] = changed(pair[side], lambda row: replace(row, id="u00002"))
    with pytest.raises(InputError, match=r"comes twice; at .* row u00002"):
        decide(*pair, POLICY)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("name", ["duration_s", "snr_db"])
def test_what_is_no_number_is_named(name: str, side: int) -> None:
    pair = [CHAMPION, CHALLENGER]
    report = pair[side].report
    rows = (*pair[side].rows[:-1], replace(pair[side].rows[-1], **{name: float("nan")}))
    pair[side] = Evaluation(report, rows)
    with pytest.raises(InputError, match=r"no number; at .* row u00079"):
        decide(*pair, POLICY)


@pytest.mark.parametrize("name", ["speaker", "phrase", "prompt"])
def test_both_sides_have_the_same_speakers_and_phrases(name: str) -> None:
    other = changed(CHALLENGER, lambda row: replace(row, **{name: "another"}))
    with pytest.raises(IntegrityError, match=f"at {name}; .* first: .*u00003"):
        decide(CHAMPION, other, POLICY)


def test_both_sides_have_the_same_lengths() -> None:
    other = changed(CHALLENGER, lambda row: replace(row, duration_s=9.0))
    with pytest.raises(IntegrityError, match="at duration_s"):
        decide(CHAMPION, other, POLICY)


def test_no_rows_are_no_evaluation() -> None:
    nothing = Evaluation(CHALLENGER.report, ())
    with pytest.raises(InputError, match="no rows"):
        decide(CHAMPION, nothing, POLICY)


def test_general_speech_is_of_the_same_models() -> None:
    guard = Pair(champion=CHALLENGER, challenger=CHALLENGER)
    with pytest.raises(InputError, match="another model; at guard, champion"):
        decide(CHAMPION, CHALLENGER, POLICY, guard=guard)


def test_own_terms_are_those_that_were_scored_with() -> None:
    with pytest.raises(InputError, match="other own terms"):
        decide(CHAMPION, CHALLENGER, POLICY.model_copy(update={"own_terms": ("drug: zyx",)}))


def test_a_bound_on_a_latency_that_nobody_measured_decides_nothing() -> None:
    decision = decide(CHAMPION, CHALLENGER, POLICY.model_copy(update={"max_latency_ratio": 2.0}))
    assert decision.outcome == "inconclusive"
    assert decision.reasons[0].startswith("latency: a bound is set")


def test_looks_below_zero_are_refused() -> None:
    with pytest.raises(InputError, match="below 0"):
        decide(CHAMPION, CHALLENGER, POLICY, looks=-1)


def test_one_planned_look_spends_all_of_the_years_alpha() -> None:
    assert alpha_of_look(1, 0.05, 1) == 0.05
    assert alpha_of_look(2, 0.05, 1) == 0.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alpha: 0.01\nalpha: 0.05\n", "'alpha' comes twice"),
        ("severities:\n  date: treatment\n  date: notable\n", "'date' comes twice"),
        ("own_terms: ['drug: ', metformin]\n", "no words"),
        ("own_terms: ['']\n", "no words"),
        ("- alpha\n", "dict"),
    ],
)
def test_a_policy_that_says_two_things_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        load_policy(str(tmp_path / "policy.yaml"))


def probed(one: Evaluation, **kinds: ProbeResult) -> Evaluation:
    return reported(one, probes=kinds)


def results(*written: str, of: int = 60, loop: bool = False) -> ProbeResult:
    made = tuple(
        MadeUp(probe=n, words=len(text.split()), loop=loop, text=text)
        for n, text in enumerate(written)
    )
    return ProbeResult(utterances=of, hallucinated=len(made), mean_words=1.0, made_up=made)


@pytest.mark.parametrize(
    ("champion", "challenger", "said"),
    [
        ({}, {"hum": results()}, "the champion was given no probes"),
        ({"hum": results()}, {}, "the challenger was given no probes"),
        ({}, {}, "the champion was given no probes"),
        ({"hum": results(of=0)}, {"hum": results(of=0)}, "the champion was given no probes"),
        ({"hum": results()}, {"hum": results(), "babble": results()}, "kind 'babble': 0 for"),
        ({"hum": results(of=60)}, {"hum": results(of=50)}, "60 for the champion, 50 for"),
    ],
)
def test_probes_that_cannot_be_compared_decide_nothing(
    champion: dict[str, ProbeResult], challenger: dict[str, ProbeResult], said: str
) -> None:
    decision = decide(probed(CHAMPION, **champion), probed(CHALLENGER, **challenger), POLICY)
    assert decision.outcome == "inconclusive"
    assert said in decision.reasons[0]


def probe_rule(champion: ProbeResult, challenger: ProbeResult, name: str) -> RuleOutcome:
    sides = probed(CHAMPION, hum=champion), probed(CHALLENGER, hum=challenger)
    return next(one for one in decide(*sides, POLICY).rules if one.rule == name)


def test_one_loop_on_one_long_probe_does_not_reject() -> None:
    loop = results("and so on and so on and so on and so on and so on", loop=True)
    assert probe_rule(results(), loop, "hallucination").outcome == "pass"
    assert probe_rule(results(), loop, "hallucination-loops").outcome == "pass"


def test_text_where_nothing_is_said_is_judged_probe_by_probe() -> None:
    """Eight that the champion has too are nothing new; eight others are, beyond chance."""
    eight = results(*["thank you"] * 8)
    assert probe_rule(eight, eight, "hallucination").outcome == "pass"
    found = probe_rule(results(), eight, "hallucination")
    assert found.outcome == "fail"
    assert "written there: hum: “thank you”" in found.reason
    looped = results(*["so so so so so so"] * 8, loop=True)
    assert probe_rule(eight, looped, "hallucination").outcome == "pass"
    assert probe_rule(eight, looped, "hallucination-loops").outcome == "fail"


def without_speakers(one: Evaluation, every: int = 1) -> Evaluation:
    """Nobody knows who spoke every so-many-th utterance."""
    rows = tuple(
        replace(row, speaker=None) if number % every == 0 else row
        for number, row in enumerate(one.rows)
    )
    return Evaluation(one.report.model_copy(update={"rows_digest": rows_digest(rows)}), rows)


def test_without_speakers_nothing_is_decided_and_what_to_do_is_said() -> None:
    sides = without_speakers(CHAMPION), without_speakers(CHALLENGER)
    decision = decide(*sides, POLICY)
    assert decision.outcome == "inconclusive"
    assert decision.reasons[0].startswith("speakers: who speaks is not known for 100%")
    assert any("Name the speakers in a column" in said for said in decision.plain)
    waived = decide(*sides, POLICY.model_copy(update={"waived": ("speakers",)}))
    assert waived.outcome == "promote"
    assert any("these recordings' speakers only" in one.reason for one in waived.rules)


def test_a_few_utterances_of_unknown_speakers_count_as_one_speakers() -> None:
    sides = without_speakers(CHAMPION, 20), without_speakers(CHALLENGER, 20)
    assert decide(*sides, POLICY).outcome == "promote"


def validated(champion: int, challenger: int) -> Pair[Counts]:
    return Pair(
        champion=Counts(hits=100 - champion, substitutions=champion),
        challenger=Counts(hits=100 - challenger, substitutions=challenger),
    )


def test_a_challenger_that_is_no_better_on_validation_data_is_not_promoted() -> None:
    better, equal = validated(10, 8), validated(10, 10)
    assert decide(CHAMPION, CHALLENGER, POLICY, validation=better).outcome == "promote"
    decision = decide(CHAMPION, CHALLENGER, POLICY, validation=equal)
    assert decision.outcome == "inconclusive"
    assert decision.reasons[0].startswith("validation: on the validation data")
    assert (worth_a_look(better), worth_a_look(equal)) == (True, False)


def test_what_is_written_over_voices_of_the_test_set_is_counted_and_not_quoted() -> None:
    """Reasons are sent to people, and a probe of babble may give away a reference."""
    eight = results(*["my left knee hurts"] * 8)
    sides = probed(CHAMPION, babble=results()), probed(CHALLENGER, babble=eight)
    found = next(one for one in decide(*sides, POLICY).rules if one.rule == "hallucination")
    assert "written there: babble: 4 words" in found.reason
    assert "knee" not in found.reason

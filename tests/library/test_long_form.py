"""Long audio: dictations that ids decide, what is counted of them, and what the gate says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.evaluation import a_job, an_utterance, make_evaluation, tiny_whisper, tone
from whisper_retrain.config import DecodingConfig
from whisper_retrain.data.manifest import Utterance
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import IntegrityError
from whisper_retrain.evaluation.evaluate import evaluate_model
from whisper_retrain.evaluation.jobs import load_evaluation, plan_evaluation
from whisper_retrain.evaluation.long_form import (
    ENOUGH_DICTATIONS,
    MOST_DICTATIONS,
    MOST_STITCHINGS,
    DictatedText,
    Passage,
    dictated,
    examine,
    plan_passages,
    stitch,
)
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.evaluation.transcriber import Segment, Transcript
from whisper_retrain.gate.comparable import check_comparable
from whisper_retrain.gate.long_form import long_form
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.rules import Contest
from whisper_retrain.records import Counts, Dictation, ModelRef, RuleOutcome

RATE = 16_000


def utterances(count: int, duration_s: float = 3.0) -> list[Utterance]:
    """By three speakers."""
    return [an_utterance(number, duration_s) for number in range(count)]


def test_the_same_dictations_whatever_order_the_test_set_comes_in() -> None:
    spoken = utterances(100)
    assert plan_passages(spoken) == plan_passages(spoken[::-1])


def test_a_dictation_lasts_one_to_two_minutes_and_uses_no_utterance_twice() -> None:
    passages = [one for one in plan_passages(utterances(400)) if not one.stitching]
    assert len(passages) > 8
    assert all(60 <= passage.duration_s <= 120 for passage in passages)
    used = [one.id for passage in passages for one in passage.utterances]
    assert len(used) == len(set(used)) > 350
    pauses_s = [pause_s for passage in passages for pause_s in passage.pauses_s]
    assert min(pauses_s) == pytest.approx(0.3, abs=0.1)
    assert max(pauses_s) == pytest.approx(1.5, abs=0.1)


def test_a_speaker_follows_the_other_only_when_all_was_said() -> None:
    changes = 0
    passages = plan_passages(utterances(400))
    for passage in passages:
        changes += sum(a.speaker != b.speaker for a, b in pairwise(passage.utterances))
    assert changes <= 2 * (1 + passages[-1].stitching)  # of three speakers


def test_under_a_minute_is_no_dictation_and_an_hour_is_enough() -> None:
    assert plan_passages(utterances(12)) == []
    assert len(plan_passages(utterances(3000))) == MOST_DICTATIONS


def test_a_small_test_set_is_stitched_again_in_other_orders_and_a_large_one_is_not() -> None:
    passages = plan_passages(utterances(200))
    stitchings = [
        [u.id for one in passages if one.stitching == number for u in one.utterances]
        for number in range(MOST_STITCHINGS)
    ]
    assert all(len(ids) == len(set(ids)) > 150 for ids in stitchings)
    assert len({tuple(ids) for ids in stitchings}) == MOST_STITCHINGS
    assert len({one.id for one in passages}) == len(passages)
    enough = plan_passages(utterances(1000))
    assert len(enough) >= ENOUGH_DICTATIONS
    assert {one.stitching for one in enough} == {0}


def test_the_audio_is_the_utterances_with_their_pauses() -> None:
    passage = plan_passages(utterances(40))[0]
    audio = stitch(passage, tone)
    assert len(audio) / RATE == pytest.approx(passage.duration_s, abs=0.01)
    start = round(passage.pauses_s[0] * RATE)
    assert not audio[:start].any()
    first = tone(passage.utterances[0])
    assert np.array_equal(audio[start : start + len(first)], first)


def passage(*references: str) -> Passage[Utterance]:
    said = tuple(
        replace(an_utterance(number, 10.0), reference=text)
        for number, text in enumerate(references)
    )
    return Passage(said, (0.5,) * len(said))


def heard(text: str, *times_s: tuple[float, float]) -> Transcript:
    segments = tuple(Segment("", start_s, end_s) for start_s, end_s in times_s)
    return Transcript(text, 1, runaway=False, segments=segments)


SAID = passage(
    "I have a sharp pain in my left shoulder.",
    "My cough is very heavy and there is blood in the mucus.",
)


def figures(text: str, *times_s: tuple[float, float]) -> Dictation:
    return examine(SAID, dictated(SAID, heard(text, *times_s)))


def test_a_dictation_heard_to_its_end() -> None:
    found = figures(SAID.reference, (0.5, 10.5), (11.0, 21.0))
    assert found.words == Counts(hits=21)
    assert (found.longest_deletion, found.repeated, found.in_order) == (0, 0, True)
    assert (found.utterances, found.duration_s) == (2, 21.0)


def test_a_lost_sentence_is_words_missing_in_a_row() -> None:
    found = figures("I have a sharp pain in my left shoulder.")
    assert found.longest_deletion == 12
    assert figures(SAID.reference.replace("sharp ", "").replace("very ", "")).longest_deletion == 1


def test_a_loop_is_what_is_said_once_and_written_again() -> None:
    assert figures(f"{SAID.reference} {SAID.reference}").repeated > 10
    twice = passage(*["I have a sharp pain in my left shoulder."] * 2)
    again = examine(twice, dictated(twice, heard(twice.reference)))
    assert again.repeated == 0  # it was said twice


@pytest.mark.parametrize(
    ("times_s", "in_order"),
    [
        ([(0.5, 10.5), (10.5, 21.0)], True),
        ([(0.5, 10.5), (9.0, 21.0)], False),  # backwards
        ([(0.5, 10.5), (11.0, 29.0)], False),  # after the audio has ended
        ([], True),
    ],
)
def test_timestamps_run_forwards_and_end_with_the_audio(
    times_s: list[tuple[float, float]], in_order: bool
) -> None:
    assert figures("text", *times_s).in_order is in_order


def test_dictations_are_heard_once_and_kept_with_the_report(
    s3_store: S3Store, tmp_path: Path
) -> None:
    spoken = utterances(45, 2.0)
    model = ModelRef(name="challenger", model_digest="cd" * 32)
    decoding = DecodingConfig(batch_size=16, max_tokens_per_s=0.5)
    job = plan_evaluation(model, "10" * 32, decoding)
    folder = tiny_whisper(tmp_path / "tiny")
    report = evaluate_model(job, folder, s3_store, tone, spoken, device="cpu")
    assert [one.id for one in report.dictations] == [one.id for one in plan_passages(spoken)]
    assert report.conditions["long form"] == job.long_form_version != ""
    loaded = load_evaluation(s3_store, report)
    assert [one.id for one in loaded.dictated] == [one.id for one in report.dictations]
    # Scored anew, as after a new normalizer: the texts are those of before, no model is needed.
    s3_store.delete(job.record_key)
    again = evaluate_model(job, tmp_path / "no model", s3_store, tone, spoken)
    assert again == report


def one(number: int, errors: int = 1, **changes: Any) -> Dictation:
    values = {
        "id": f"d{number}",
        "duration_s": 90.0,
        "utterances": 25,
        "words": Counts(hits=200 - errors, substitutions=errors),
        "longest_deletion": 0,
        "repeated": 0,
        "in_order": True,
    }
    return Dictation(**(values | changes))


TEXTS = [("no pain", "no pain")] * 10


def with_dictations(*dictations: Dictation) -> Evaluation:
    plain = make_evaluation("model", TEXTS)
    conditions = {"long form": "1"}
    report = plain.report.model_copy(update={"dictations": dictations, "conditions": conditions})
    return Evaluation(report, plain.rows)


def outcomes(champion: list[Dictation], challenger: list[Dictation]) -> dict[str, RuleOutcome]:
    contest = Contest(with_dictations(*champion), with_dictations(*challenger), GatePolicy())
    return {found.rule: found for found in long_form(contest)}


GOOD = [one(number) for number in range(10)]


def test_alike_dictations_pass() -> None:
    found = outcomes(GOOD, GOOD)
    assert {rule.outcome for rule in found.values()} == {"pass"}


def test_more_errors_on_long_audio_fail() -> None:
    worse = [one(number, errors=20 + number) for number in range(10)]
    assert outcomes(GOOD, worse)["long-form"].outcome == "fail"


def test_utterances_that_are_heard_again_are_no_further_blocks_but_may_be_lost() -> None:
    again = [one(number, stitching=number // 10) for number in range(20)]
    worse = [*again[:10], *(one(n, errors=40, stitching=1) for n in range(10, 20))]
    assert outcomes(again, worse)["long-form"].outcome == "pass"
    assert "10 dictations" in outcomes(again, worse)["long-form"].reason
    newly = [*again[:18], *(one(n, stitching=1, longest_deletion=8) for n in (18, 19))]
    assert outcomes(again, newly)["long-form-lost"].outcome == "fail"


def test_the_same_on_little_long_audio_informs() -> None:
    uneven = [one(0, errors=1), one(1, errors=40)]
    assert outcomes(GOOD[:2], uneven)["long-form"].outcome == "info"


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("long-form-lost", {"longest_deletion": 8}),
        ("long-form-loops", {"repeated": 1}),
        ("long-form-times", {"in_order": False}),
    ],
)
def test_one_dictation_newly_broken_fails_and_one_put_right_for_it_does_not(
    rule: str, broken: dict[str, Any]
) -> None:
    newly = [one(0, **broken), *GOOD[1:]]
    assert outcomes(GOOD, newly)[rule].outcome == "fail"
    assert outcomes(newly, GOOD)[rule].outcome == "pass"
    elsewhere = [GOOD[0], one(1, **broken), *GOOD[2:]]
    assert outcomes(newly, elsewhere)[rule].outcome == "pass"


@pytest.mark.parametrize(("newly", "outcome"), [(1, "pass"), (2, "pass"), (3, "fail")])
def test_of_forty_dictations_two_break_by_chance(newly: int, outcome: str) -> None:
    many = [one(number) for number in range(40)]
    worse = [one(number, longest_deletion=8) for number in range(newly)] + many[newly:]
    assert outcomes(many, worse)["long-form-lost"].outcome == outcome


def test_a_missing_word_or_two_is_no_lost_sentence() -> None:
    close = [one(0, longest_deletion=7), *GOOD[1:]]
    assert outcomes(GOOD, close)["long-form-lost"].outcome == "pass"


def test_a_test_set_of_less_than_two_dictations_says_so() -> None:
    (found,) = outcomes([], []).values()
    assert (found.rule, found.outcome) == ("long-form", "info")
    assert "too few" in found.reason


def test_reports_of_an_earlier_version_knew_of_no_dictations() -> None:
    plain = make_evaluation("model", TEXTS)
    report = plain.report.model_copy(update={"conditions": {}})
    old = Evaluation(report, plain.rows)
    assert long_form(Contest(old, old, GatePolicy())) == []


def test_other_dictations_are_refused() -> None:
    with pytest.raises(IntegrityError, match="do not hold the same dictations"):
        check_comparable(with_dictations(*GOOD), with_dictations(*GOOD[1:]))


def test_without_probes_there_are_no_dictations_either() -> None:
    job = a_job()
    assert job.long_form_version
    plain = plan_evaluation(job.model, "10" * 32, DecodingConfig(), probed=False)
    assert plain.long_form_version == ""


def test_what_was_written_is_kept_with_what_was_said() -> None:
    kept = dictated(SAID, heard("text", (0.0, 1.0)))
    assert kept == DictatedText(id=SAID.id, reference=SAID.reference, text="text", in_order=True)

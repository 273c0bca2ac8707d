"""The year of drops: what arrives, who becomes champion, and a short one with tiny models."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from benchmarks.year_corpus import (
    DRUG,
    MONTHS,
    NEW_DRUG,
    WRONG,
    Reading,
    arrive,
    drop,
    vault,
    write_listing,
)
from benchmarks.year_life import DEFAULT, FIXED, Speech, Year, live
from benchmarks.year_picture import draw
from benchmarks.year_pieces import World
from benchmarks.year_policies import (
    BASE,
    POLICIES,
    Change,
    Offer,
    TermCount,
    cost_ratio,
    forgotten,
    months_until,
)
from benchmarks.year_verdict import figures, table, wer_by_month
from tests.fixtures.recordings import encoded
from tests.fixtures.training import QUICK, phrases, say, write_tiny_model
from whisper_retrain.config import CandidatesConfig, DecodingConfig
from whisper_retrain.edges.store import S3Store
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.local.demo.speakers import DEMO_TEST_SPEAKERS, TRAIN_SPEAKERS, Speaker
from whisper_retrain.records import TrainingRun
from whisper_retrain.training.__main__ import _open_speech
from whisper_retrain.training.devices import Device
from whisper_retrain.training.fine_tuning import Surroundings, train
from whisper_retrain.training.job import TrainingJob
from whisper_retrain.training.progress import Reporter

BETTER = Offer(
    challenger="new",
    candidates=("new", "merged"),
    promoted=True,
    test_wer={"old": 0.08, "new": 0.07},
    choice_wer={"old": 0.08, "new": 0.07, "merged": 0.06},
)
NOT_PROVEN = replace(BETTER, promoted=False)
WORSE = replace(
    NOT_PROVEN,
    test_wer={"old": 0.08, "new": 0.09},
    choice_wer={"old": 0.08, "new": 0.09, "merged": 0.08},
)


@pytest.mark.parametrize(
    ("policy", "better", "not_proven", "worse"),
    [
        ("default", "new", "old", "old"),
        ("cold_fixed", "new", "old", "old"),
        ("always_newest", "new", "new", "new"),
        ("lower_wer", "new", "new", "old"),
        ("first", "old", "old", "old"),
        ("oracle", "merged", "merged", "old"),
    ],
)
def test_each_policy_makes_its_own_of_the_same_candidates(
    policy: str, better: str, not_proven: str, worse: str
) -> None:
    chosen = [POLICIES[policy]("old", offer) for offer in (BETTER, NOT_PROVEN, WORSE)]
    assert chosen == [better, not_proven, worse]


def test_the_first_champion_is_one_that_the_gate_promotes() -> None:
    assert POLICIES["first"](BASE, NOT_PROVEN) == BASE
    assert POLICIES["first"](BASE, BETTER) == "new"


@pytest.mark.parametrize(
    ("change", "harmful"),
    [
        (Change("May", -0.01, -0.02, -0.001), False),
        (Change("May", 0.004, -0.002, 0.01), False),
        (Change("May", 0.006, -0.002, 0.014), True),
        (Change("May", 0.003, 0.001, 0.005), True),
        (Change("May", -0.02, -0.03, -0.01, ("warfarin",)), True),
    ],
)
def test_harm_is_half_a_point_or_proof_or_a_forgotten_term(change: Change, harmful: bool) -> None:
    assert change.is_harmful == harmful


def test_a_term_is_forgotten_that_was_known_and_is_right_in_half_of_its_places() -> None:
    terms = [
        TermCount("warfarin", 10, before=9, after=5),
        TermCount("losartan", 10, before=9, after=6),
        TermCount("naproxen", 10, before=8, after=0),
        TermCount("colchicine", 2, before=2, after=0),
    ]
    assert forgotten(terms) == ("warfarin",)


def test_a_new_term_is_counted_from_the_month_in_which_it_arrived() -> None:
    assert months_until([0.9, 0.0, 0.2, 0.4, 0.6], arrived=2) == 2
    assert months_until([0.0, 0.5], arrived=1) == 0
    assert months_until([0.0, 0.1], arrived=1) is None


def test_costs_are_told_in_cold_trainings_of_the_same_months() -> None:
    assert cost_ratio([150.0, 250.0], [100.0, 200.0]) == pytest.approx(4 / 3)
    assert cost_ratio([], []) is None


def arrived_until(month: str) -> list[Reading]:
    return [one for name in MONTHS[: MONTHS.index(month) + 1] for one in drop(name)]


def test_no_drop_holds_a_voice_or_a_sentence_of_the_vault() -> None:
    choosing, judging = vault(1200)
    arrived = arrived_until("December")
    assert len(choosing) == len(judging) == 600
    assert not {one.speaker.id for one in choosing} & {one.speaker.id for one in judging}
    assert len({one.speaker.id for one in choosing + judging}) >= 20
    assert not {one.speaker.id for one in choosing + judging} & {o.speaker.id for o in arrived}
    assert not {one.text for one in choosing + judging} & {one.text for one in arrived}


def test_every_recording_is_one_of_its_own() -> None:
    arrived = arrived_until("December")
    assert len({one.id for one in arrived}) == len(arrived)
    assert len({(one.speaker.id, one.text) for one in arrived}) == len(arrived)


def test_the_test_set_is_januarys_and_large_enough() -> None:
    voices = set(DEMO_TEST_SPEAKERS)
    assert sum(one.speaker.id in voices for one in drop("January")) == 900
    assert sum(one.speaker.id in voices for one in drop("January", 300)) == 300
    assert not any(one.speaker.id in voices for m in MONTHS[1:] for one in drop(m))


def test_the_test_sets_sentences_are_many_and_nobody_trains_on_them() -> None:
    voices = set(DEMO_TEST_SPEAKERS)
    readings = [one for month in MONTHS for one in drop(month)]
    tested = {one.text for one in readings if one.speaker.id in voices}
    assert len(tested) == 193, "a sentence is a block of the gate's intervals"
    assert not tested & {one.text for one in readings if one.speaker.id not in voices}
    assert not tested & {one.text for half in vault(1200) for one in half}


def test_each_month_but_july_brings_new_voices_and_sentences() -> None:
    for before, month in pairwise(MONTHS):
        known, new = arrived_until(before), drop(month)
        if month == "July":
            assert not new
            continue
        assert {one.speaker.id for one in new} - {one.speaker.id for one in known}
        assert not {one.text for one in new} & {one.text for one in known}


def test_nobody_names_the_new_drug_before_may_and_both_halves_of_the_vault_ask_for_it() -> None:
    assert not any(DRUG in one.text.lower() for one in arrived_until("April"))
    assert sum(DRUG in one.text.lower() for one in drop(NEW_DRUG)) >= 20
    for half in vault(1200):
        assert sum(DRUG in one.text.lower() for one in half) >= 20


def test_every_fifth_reference_of_october_is_wrong_and_no_other() -> None:
    wrong = [one for one in drop(WRONG) if one.reference != one.text]
    assert len(wrong) / len(drop(WRONG)) == pytest.approx(0.2, abs=0.02)
    others = [one for month in MONTHS if month != WRONG for one in drop(month)]
    assert all(one.reference == one.text for one in others)


def test_augusts_microphones_are_others() -> None:
    assert {one.speaker.rate_hz for one in drop("August")} == {8_000}


VOICE = TRAIN_SPEAKERS[0]
TONES = {"January": 24, "February": 10, "March": 0}
POLICY = GatePolicy(name="tones", replicates=1000, min_words=10, max_wer=50.0)


def tones(folder: Path, name: str, count: int, speakers: int = 4) -> tuple[Path, list[Reading]]:
    """A folder of recordings of one tone a word."""
    place, readings = folder / name, []
    place.mkdir(parents=True)
    for number, said in enumerate(phrases(count, seed=len(name))):
        voice: Speaker = replace(VOICE, id=number % speakers)
        one = Reading(f"{name}-{number:03d}", voice, said, said, "tones")
        (place / f"{one.id}.flac").write_bytes(encoded(say(said, number)))
        readings.append(one)
    write_listing(place, readings)
    return place, readings


@pytest.fixture
def world(s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Tiny models, trained in this process for a few steps."""
    torch.set_num_threads(1)
    cache = tmp_path / "cache"

    def trained(job: TrainingJob, start: Path, work: Path) -> TrainingRun:
        found = s3_store.read_versioned(job.record_key)
        if found:
            return TrainingRun.model_validate_json(found[0])
        with Reporter(lambda _: None) as reporter:
            speech = _open_speech(s3_store, job, cache, 2**30)
            device = Device("float32", force_cpu=True)
            run = train(job, Surroundings(speech, s3_store, start, work, device, reporter))
        assert run
        return run

    return World(
        store=s3_store,
        cache=cache,
        base=write_tiny_model(tmp_path / "base", positions=32),
        train=trained,
        test_speakers=("0",),
        training=QUICK.model_copy(update={"max_steps": None, "epochs": 0.3, "eval_share": 1.0}),
        candidates=CandidatesConfig(
            kinds=("cold", "warm", "merge", "merge-base"), min_validation_words=0
        ),
        decoding=DecodingConfig(batch_size=16, max_tokens_per_s=8),
        policy=POLICY,
        probed=False,
        say=lambda _: None,
    )


@pytest.mark.slow
def test_a_short_year_is_judged_by_the_gate_and_a_second_run_makes_nothing_again(
    world: World, tmp_path: Path
) -> None:
    drops = {month: tones(tmp_path / "drops", month, count) for month, count in TONES.items()}
    general, choosing, judging = (
        world.test_set(tones(tmp_path / "speech", name, 4)[0])
        for name in ("general-1", "choosing-1", "judging-1")
    )
    speech = Speech(lambda month: drops[month], general, judging, choosing)

    def lived() -> Year:
        return live(world, speech, tuple(TONES), tuple(POLICIES))

    year = lived()
    january, february, march = year.ends
    assert march.champions == february.champions, "a month without anything changes nothing"
    assert march.asked == {}
    assert len(february.asked[DEFAULT].offer.candidates) >= 3
    assert [*february.asked[FIXED].offer.candidates] == ["02-cold_fixed-cold"]
    fixed = [year.models[f"{n}-cold_fixed-cold"].run for n in ("01", "02")]
    assert fixed[0] and fixed[1] and fixed[0].steps == fixed[1].steps  # noqa: PT018
    for end in (january, february):
        newest = end.asked[DEFAULT].offer.challenger
        assert end.champions["always_newest"] == newest
        assert end.asked[DEFAULT].reasons

    found, written = figures(world, speech, year), set(world.store.keys(""))
    assert {*found["final_wer"]} == {*POLICIES}
    assert {"harmful_promotions", "promotions", "cost_ratio", "months_to_new_term"} <= {*found}
    assert found["months_to_new_term"] is None
    assert found["cost_ratio"] > 1
    assert february.asked[DEFAULT].cold_s == year.models["02-default-cold"].seconds
    lines = wer_by_month(world, speech, year)
    assert table(year, lines).count("\n") == 4
    assert draw(year, lines).count("<polyline") == len(POLICIES)

    world.evaluations.clear()
    again = lived()
    assert figures(world, speech, again) == found
    assert set(world.store.keys("")) == written


def test_recordings_arrive_in_one_place_and_those_of_before_stay_as_they_were(
    tmp_path: Path,
) -> None:
    first, second = (tones(tmp_path / "drops", name, 3) for name in ("one", "two"))
    place = arrive(tmp_path / "all", [first])
    before = {path.name: path.stat().st_mtime for path in place.glob("*.flac")}
    arrive(place, [first, second])
    after = {path.name: path.stat().st_mtime for path in place.glob("*.flac")}
    assert before.items() <= after.items()
    assert len((place / "metadata.csv").read_text().splitlines()) == 7

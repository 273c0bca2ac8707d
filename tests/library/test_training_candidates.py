"""Which candidates are made, and which of them goes to the gate."""

from __future__ import annotations

import pytest

from tests.fixtures.evaluation import make_evaluation
from whisper_retrain.config import CandidatesConfig, TrainingConfig
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.training.candidates import (
    BASE,
    CHAMPION,
    Candidate,
    Choice,
    Entry,
    choose,
    planned_candidates,
)

TRAINING = TrainingConfig(seed=5, base_share=0.25)
POLICY = GatePolicy(replicates=1000)
SAID = ("cough", "my", "chest", "hurts", "when", "i", "breathe", "out", "deep", "now")
ALL = CandidatesConfig(kinds=("cold", "warm", "merge", "merge-base"))


def plan(
    wanted: CandidatesConfig,
    words: int = 2000,
    has_champion: bool = True,
    same_base: bool = True,
) -> dict[str, Candidate]:
    found = planned_candidates(
        wanted,
        TRAINING,
        validation_words=words,
        has_champion=has_champion,
        same_base=same_base,
    )
    return {one.name: one for one in found}


def test_by_default_there_is_a_cold_training_and_its_average_with_the_champion() -> None:
    found = plan(CandidatesConfig())
    assert [*found] == ["cold", "merge-champion-cold"]
    assert found["cold"].config == TRAINING


def test_before_the_first_champion_a_cold_training_is_all() -> None:
    assert [*plan(CandidatesConfig(), has_champion=False)] == ["cold"]


def test_a_champion_of_another_base_model_is_averaged_with_nothing() -> None:
    assert [*plan(CandidatesConfig(), same_base=False)] == ["cold"]


def test_with_cold_alone_there_is_nothing_to_choose_from() -> None:
    alone = CandidatesConfig(kinds=("cold",))
    assert alone.is_one
    assert [*plan(alone)] == ["cold"]


def test_all_kinds_are_two_trainings_and_five_averages_that_cost_none() -> None:
    found = plan(ALL)
    assert [name for name, one in found.items() if one.config] == ["cold", "warm"]
    assert {name: one.parts for name, one in found.items() if one.parts} == {
        "merge-cold-warm": {"cold": 0.5, "warm": 0.5},
        "merge-champion-cold": {"cold": 0.5, CHAMPION: 0.5},
        "merge-base-25": {"cold": 0.75, BASE: 0.25},
        "merge-base-50": {"cold": 0.5, BASE: 0.5},
        "merge-base-75": {"cold": 0.25, BASE: 0.75},
    }


def test_a_warm_start_mixes_in_nothing_for_the_champion_is_no_base_model() -> None:
    warm = plan(ALL)["warm"].config
    assert warm == TRAINING.model_copy(update={"base_share": 0.0})


def test_without_a_champion_nothing_is_warm() -> None:
    assert {*plan(ALL, has_champion=False)} == {
        "cold", "merge-base-25", "merge-base-50", "merge-base-75",
    }  # fmt: skip
    assert [*plan(CandidatesConfig(kinds=("warm",)), has_champion=False)] == ["cold"]


def test_several_seeds_come_with_their_average() -> None:
    found = plan(CandidatesConfig(kinds=("cold",), seeds=3))
    assert [*found] == ["cold", "cold-seed-6", "cold-seed-7", "merge-seeds"]
    assert [one.config.seed for one in found.values() if one.config] == [5, 6, 7]
    assert found["merge-seeds"].parts == pytest.approx(
        {"cold": 1 / 3, "cold-seed-6": 1 / 3, "cold-seed-7": 1 / 3}
    )


@pytest.mark.parametrize("words", [0, 1499])
def test_a_small_validation_split_cannot_choose_so_the_first_kind_alone_is_made(words: int) -> None:
    assert [*plan(ALL, words)] == ["cold"]
    assert [*plan(CandidatesConfig(kinds=("warm", "cold"), seeds=2), words)] == ["warm"]


def heard(errors: int, terms: int = 0, first: int = 0) -> Evaluation:
    """Sixty utterances of ten words; in each so many are wrong, and in some of them a term, too."""
    texts = []
    for number in range(60):
        said = list(SAID)
        wrong = [f"{word}x" if 1 <= place <= errors else word for place, word in enumerate(said)]
        wrong[0] = "x" if first <= number < first + terms else wrong[0]
        texts.append((" ".join(said), " ".join(wrong)))
    return make_evaluation("model", texts, speakers=[f"s{number % 6}" for number in range(60)])


def entry(name: str, errors: int, seconds: float = 100.0, terms: int = 0) -> Entry:
    kind = "cold" if name == "cold" else "warm" if name == "warm" else "merge"
    return Entry(Candidate(name=name, kind=kind), heard(errors, terms), seconds)


def chosen(*entries: Entry, champion: int | None = 3) -> Choice:
    before = heard(champion) if champion is not None else None
    return choose({one.candidate.name: one for one in entries}, before, POLICY)


def test_the_fewest_errors_win_and_all_are_shown_with_interval_and_cost() -> None:
    choice = chosen(entry("cold", 2), entry("warm", 1, seconds=50.0))
    assert choice.winner == "warm"
    assert [(one.name, one.cost) for one in choice.compared] == [("warm", 0.5), ("cold", 1.0)]
    assert choice.compared[0].wer == pytest.approx(0.1)
    assert choice.compared[0].change == pytest.approx(-0.2)
    interval = choice.compared[0].interval
    assert interval is not None
    assert interval.confidence == pytest.approx(0.9)


def test_what_is_not_told_apart_goes_to_the_cheaper() -> None:
    choice = chosen(entry("cold", 2), entry("warm", 2, seconds=50.0, terms=1))
    assert choice.winner == "warm", "one term more out of 600 words is no difference"
    assert "preferred for its cost" in choice.reason


def test_at_equal_cost_the_lower_medical_wer_decides() -> None:
    worse, better = entry("cold", 2, terms=1), entry("merge-base-25", 2, seconds=101.0)
    assert chosen(worse, better).winner == "merge-base-25"


def test_nothing_goes_to_the_gate_that_is_surely_no_better_than_the_champion() -> None:
    choice = chosen(entry("cold", 3), entry("warm", 4), champion=3)
    assert choice.winner is None
    assert "by the validation split" in choice.reason


def test_what_validation_cannot_tell_from_the_champion_is_left_to_the_gate() -> None:
    candidate = Candidate(name="cold", kind="cold")
    worse = Entry(candidate, heard(3, terms=21, first=20), 100.0)
    choice = choose({"cold": worse}, heard(3, terms=20), POLICY)
    assert choice.compared[0].change == pytest.approx(1 / 600)
    assert choice.winner == "cold"


def test_before_the_first_champion_the_best_is_the_challenger() -> None:
    choice = chosen(entry("cold", 3), entry("merge-base-25", 2), champion=None)
    assert choice.winner == "merge-base-25"
    assert all(one.change is None for one in choice.compared)

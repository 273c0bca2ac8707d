"""What a tuning tries, what it may cost, which trial it prefers, and what it proposes."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from tests.fixtures.evaluation import make_evaluation
from tests.fixtures.training import job_of, write_tiny_model
from whisper_retrain.config import TrainingConfig
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.training.schedule import schedule_of
from whisper_retrain.tuning import study
from whisper_retrain.tuning.budget import (
    TOLERANCE,
    Pace,
    TuningBudget,
    affordable,
    confirmation_s,
    has_room_to_begin,
    is_confirmation_affordable,
    predicted_s,
    rung_s,
    starters,
)
from whisper_retrain.tuning.conclusion import concluded, survivors, winner_of
from whisper_retrain.tuning.halving import epochs_trained, go_on, rung_settings
from whisper_retrain.tuning.objective import Scored, best_of, ranked
from whisper_retrain.tuning.picture import tuning_svg
from whisper_retrain.tuning.proposal import (
    Proposal,
    accept,
    accepted_proposal,
    followed,
    keep_proposal,
    withdraw,
)
from whisper_retrain.tuning.space import SearchSpace, point_of, settings_of, table_point
from whisper_retrain.tuning.trials import (
    CONFIRMATION,
    Known,
    Outcome,
    Trial,
    Trials,
    TuningJob,
    known_of,
)

EPOCHS = (2.0, 4.0, 8.0)
SPACE = SearchSpace()
TRAINING = TrainingConfig(learning_rate=1e-4, seed=5)
RATE = 3.75e-5
POLICY = GatePolicy(replicates=1000)
PACE = Pace(epoch_s=10.0, evaluation_s=4.0)
NOW = datetime(2026, 11, 27, tzinfo=UTC)
SAID = ("cough", "my", "chest", "hurts", "when", "i", "breathe", "out", "deep", "now")


# What is tried


def test_the_settings_as_they_are_are_a_point_and_come_back_from_it() -> None:
    point = point_of(SPACE, TRAINING, RATE)
    assert point["rate"] == pytest.approx(1e-4 / RATE)
    assert settings_of(point, TRAINING, RATE) == TRAINING


def test_what_the_space_leaves_alone_stays_as_it_is() -> None:
    unusual = TRAINING.model_copy(update={"packed_share": 0.3, "speed_augment": 0.1})
    settings = settings_of({**table_point(SPACE, 0), "rate": 2.0}, unusual, RATE)
    assert settings.learning_rate == pytest.approx(2 * RATE)
    assert (settings.packed_share, settings.speed_augment, settings.seed) == (0.3, 0.1, 5)


def test_the_first_points_of_the_table_cover_the_rates_and_every_choice() -> None:
    points = [table_point(SPACE, number) for number in range(8)]
    rates = sorted(float(point["rate"]) for point in points)
    assert rates[0] < 0.8
    assert rates[-1] > 2.5
    assert all(later / earlier < 2 for earlier, later in pairwise(rates))
    assert {point["batch_size"] for point in points} == {16, 32, 64}
    assert {point["spec_augment"] for point in points} == {False, True}
    assert all(SPACE.holds(point) for point in points)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lowest_rate": 3, "highest_rate": 2}, "no point"),
        ({"lowest_rate": 1, "highest_rate": 1, "batch_size": (16,), "spec_augment": (),
          "noise_augment_share": (), "weight_decay": (0.0,)}, "one point"),
        ({"batch_size": (0,)}, "greater than or equal to 1"),
        ({"batch_size": (16, 16)}, "stands twice"),
        ({"epochs": (4, 2)}, "more epochs than the one before"),
        ({"epochs": ()}, "at least 1"),
    ],
)  # fmt: skip
def test_a_space_without_a_point_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SearchSpace(**changes)


def known(rate: float, loss: float, **choices: Any) -> Known:
    point = {"rate": rate, "batch_size": 16, "spec_augment": False, "noise_augment_share": 0.0}
    return Known(point={**point, "weight_decay": 0.0, **choices}, losses={0: loss}, finished=False)


def test_the_study_is_rebuilt_from_records_so_the_same_ones_give_the_same_point() -> None:
    seen = [known(1.0, 0.5), known(2.0, 0.4)]
    first, again = (study.next_point(SPACE, [], seen, seed=3) for _ in range(2))
    assert first == again
    assert first
    assert first[1] == "optuna"
    assert SPACE.holds(first[0])


def test_earlier_trials_are_the_prior_of_the_next_point() -> None:
    """With a clear optimum at twice the default most proposals lie near it."""
    rng = random.Random(1)
    rates = [rng.uniform(0.5, 4.0) for _ in range(40)]
    seen = [known(rate, abs(rate - 2.0)) for rate in rates]
    asked = [study.next_point(SPACE, [], seen, seed) for seed in range(20)]
    near = sum(abs(float(point["rate"]) - 2.0) < 0.6 for point, _ in filter(None, asked))
    assert near >= 12


def test_a_diverged_trial_and_one_outside_of_the_space_do_no_harm() -> None:
    seen = [known(3.9, float("inf")), known(99.0, 0.1), known(1.0, 0.5, batch_size=7)]
    assert study.next_point(SPACE, [], seen, seed=3)


def test_without_optuna_points_come_from_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "find_spec", lambda _: None)
    taken = [table_point(SPACE, 0)]
    assert study.next_point(SPACE, taken, [], seed=3) == (table_point(SPACE, 1), "table")


def test_no_point_is_tried_twice_and_a_space_may_be_used_up() -> None:
    small = SearchSpace(
        lowest_rate=1, highest_rate=1, batch_size=(16, 32), spec_augment=(),
        noise_augment_share=(), weight_decay=(),
    )  # fmt: skip
    taken = [{"rate": 1.0, "batch_size": 16}]
    left = study.next_point(small, taken, [], seed=1)
    assert left
    assert left[0] == {"rate": 1.0, "batch_size": 32}
    assert study.next_point(small, [*taken, left[0]], [], seed=1) is None


# Rungs


def test_the_rungs_of_a_trial_share_warm_up_and_validations_whatever_the_data() -> None:
    rungs = [schedule_of(rung_settings(TRAINING, EPOCHS, n), 37) for n in range(3)]
    assert [one.steps for one in rungs] == [74, 148, 296]
    assert len({(one.warmup_steps, one.eval_steps) for one in rungs}) == 1


def test_a_rung_has_a_validation_even_where_the_settings_ask_for_few() -> None:
    settings = TRAINING.model_copy(update={"eval_share": 1.0})
    assert [rung_settings(settings, EPOCHS, n).eval_share for n in range(3)] == [1.0, 0.5, 0.25]


def test_the_last_rung_keeps_no_state_and_none_validates_the_base_model() -> None:
    kept = [rung_settings(TRAINING, EPOCHS, n) for n in range(3)]
    assert [one.keep_trunk for one in kept] == [True, True, False]
    assert not any(one.validate_base for one in kept)


def test_what_goes_on_trains_from_where_its_rate_began_to_fall() -> None:
    assert [epochs_trained(EPOCHS, n) for n in range(3)] == pytest.approx([2.0, 2.4, 4.8])
    assert [go_on(n) for n in (8, 4, 3, 2, 1)] == [4, 2, 2, 1, 1]


# The budget


def test_the_prediction_is_the_sum_of_all_rungs() -> None:
    by_hand = 8 * (20 + 4) + 4 * (24 + 4) + 2 * (48 + 4)
    assert predicted_s(PACE, EPOCHS, 8) == pytest.approx(by_hand)
    assert confirmation_s(PACE, EPOCHS) == pytest.approx(84)


def test_as_many_trials_begin_as_fit_with_all_that_follows() -> None:
    total = predicted_s(PACE, EPOCHS, 8) + 84
    assert starters(TuningBudget(seconds=total), PACE, EPOCHS) == 8
    fewer = starters(TuningBudget(seconds=total - 1), PACE, EPOCHS)
    assert fewer < 8
    assert predicted_s(PACE, EPOCHS, fewer) + 84 <= total - 1


def test_a_budget_under_one_trial_is_refused_with_what_would_do() -> None:
    least = predicted_s(PACE, EPOCHS, 2) + 84
    with pytest.raises(InputError, match=f"at least {least:.0f} s"):
        starters(TuningBudget(seconds=least - 1), PACE, EPOCHS)


def test_where_trainings_prove_slower_fewer_go_on_and_at_the_end_none() -> None:
    budget = TuningBudget(seconds=500)
    rooms = [affordable(budget, spent, PACE, EPOCHS, 1, 4) for spent in (100, 250, 350, 480, 520)]
    assert rooms[0] == 4
    assert rooms == sorted(rooms, reverse=True)
    assert rooms[-1] == 0


def test_and_no_further_trial_begins_that_the_budget_could_not_bring_to_the_end() -> None:
    budget = TuningBudget(seconds=predicted_s(PACE, EPOCHS, 4) + 84)
    spent = 3 * rung_s(PACE, EPOCHS, 0)
    assert has_room_to_begin(budget, spent, PACE, EPOCHS, 3)
    assert not has_room_to_begin(budget, 1.2 * spent, PACE, EPOCHS, 3)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_paces_of_the_trials_the_budget_is_kept_within_its_tolerance(
    seed: int,
) -> None:
    """Trials are up to a quarter slower or faster than the first, by which all was planned."""
    rng = random.Random(seed)
    budget = TuningBudget(seconds=rng.uniform(350, 900))
    paces = [1.0, *(rng.uniform(0.75, 1.25) for _ in range(7))]
    spent, trained = 0.0, 0.0

    def train(trial: int, rung: int) -> None:
        nonlocal spent, trained
        spent += paces[trial] * rung_s(PACE, EPOCHS, rung)
        trained += rung_s(PACE, EPOCHS, rung)

    def pace() -> Pace:
        slow = spent / trained
        return Pace(epoch_s=slow * PACE.epoch_s, evaluation_s=slow * PACE.evaluation_s)

    train(0, 0)
    alive = list(range(starters(budget, pace(), EPOCHS)))
    for trial in alive[1:]:
        train(trial, 0)
    for rung in (1, 2):
        room = affordable(budget, spent, pace(), EPOCHS, rung, go_on(len(alive)))
        alive = rng.sample(alive, room)
        for trial in alive:
            train(trial, rung)
    if alive and is_confirmation_affordable(budget, spent, pace(), EPOCHS[-1]):
        spent += paces[alive[0]] * confirmation_s(PACE, EPOCHS)
    assert spent <= (1 + TOLERANCE) * budget.seconds


# Which is best


def heard(errors: int, terms: int = 0) -> Evaluation:
    """Sixty utterances of ten words: in each so many words are wrong, and terms in some."""
    texts = []
    for number in range(60):
        said = list(SAID)
        wrong = [f"{word}x" if 1 <= place <= errors else word for place, word in enumerate(said)]
        wrong[0] = "x" if number < terms else wrong[0]
        texts.append((" ".join(said), " ".join(wrong)))
    return make_evaluation("model", texts, speakers=[f"s{number % 6}" for number in range(60)])


def test_the_fewest_errors_win_whatever_they_cost() -> None:
    best = best_of([Scored(0, heard(2), 1.0), Scored(1, heard(1), 9.0)], POLICY)
    assert best.number == 1


def test_what_is_not_told_apart_goes_by_medical_wer_then_by_cost() -> None:
    one, other = Scored(0, heard(2, terms=1), 1.0), Scored(1, heard(2), 9.0)
    assert best_of([one, other], POLICY).number == 1, "one term less"
    assert best_of([Scored(0, heard(2), 5.0), Scored(1, heard(2), 4.0)], POLICY).number == 1


def test_a_ranking_is_the_best_of_those_that_are_left_again_and_again() -> None:
    scored = [Scored(n, heard(errors), 1.0) for n, errors in enumerate((3, 1, 2))]
    assert [one.number for one in ranked(scored, POLICY)] == [1, 2, 0]


# What it comes to


@pytest.fixture(scope="module")
def job(
    request: pytest.FixtureRequest, s3_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> TuningJob:
    folder = tmp_path_factory.mktemp("tuning")
    trained = job_of(s3_server.store(), folder / "speech", write_tiny_model(folder / "model"))
    return TuningJob(
        dataset=trained.dataset,
        base_model=trained.base_model.model_copy(update={"repo": "demo/base"}),
        default_rate=RATE,
        training=TRAINING,
        decoding=trained.decoding,
        space=SPACE,
        policy=POLICY,
    )


def trial(number: int) -> Trial:
    return Trial(number=number, point=table_point(SPACE, number), origin="table")


def outcome(number: int, rung: int, evaluation: Evaluation | None, **changes: Any) -> Outcome:
    given = {
        "trial": number,
        "rung": rung,
        "epochs": EPOCHS[rung],
        "seed": 5,
        "run": "ab" * 32 if evaluation else None,
        "report": evaluation.report if evaluation else None,
        "training_s": 10 * epochs_trained(EPOCHS, rung),
        "evaluation_s": 4.0,
        "whole_s": 10 * EPOCHS[rung] + 4,
        "diverged": None if evaluation else "loss nan",
    }
    return Outcome(**(given | changes))


def other_seed(evaluation: Evaluation) -> Outcome:
    """The second trial's last rung once more."""
    again = {"rung": CONFIRMATION, "seed": 6, "training_s": 80.0}
    return outcome(2, 2, evaluation).model_copy(update=again)


HEARD = {
    (0, 0): heard(4), (1, 0): heard(3), (2, 0): heard(2), (3, 0): None,
    (1, 1): heard(2), (2, 1): heard(2), (2, 2): heard(1),
}  # fmt: skip
OUTCOMES = [outcome(number, rung, found) for (number, rung), found in HEARD.items()]
EVALUATIONS = {key: found for key, found in HEARD.items() if found}


def test_the_better_half_goes_on_and_what_diverged_does_not(job: TuningJob) -> None:
    first = [one for one in OUTCOMES if one.rung == 0]
    assert survivors(job, TuningBudget(), first, EVALUATIONS, 1) == [2, 1]


def test_a_tuning_that_goes_on_chooses_as_if_the_rung_had_not_begun(job: TuningJob) -> None:
    assert survivors(job, TuningBudget(), OUTCOMES, EVALUATIONS, 1) == [2, 1]


def test_where_all_diverged_none_goes_on_and_nothing_is_proposed(job: TuningJob) -> None:
    diverged = [outcome(number, 0, None) for number in range(3)]
    assert survivors(job, TuningBudget(), diverged, {}, 1) == []
    assert winner_of(diverged, {}, POLICY) is None


def proposal(job: TuningJob, *more: Outcome) -> Proposal:
    trials = [Trial(number=0, point=point_of(SPACE, TRAINING, RATE), origin="as now")]
    trials += [trial(number) for number in (1, 2, 3)]
    return concluded(
        job, "demo/mine", trials, [*OUTCOMES, *more], EVALUATIONS, TuningBudget(), 500.0, NOW
    )


def test_the_proposal_has_the_winners_settings_and_says_how_much_it_flattered_itself(
    job: TuningJob,
) -> None:
    worse = other_seed(heard(2))
    made = proposal(job, worse)
    assert (made.winner, made.selected_wer) == (2, pytest.approx(0.1))
    assert (
        made.settings["learning_rate"] == settings_of(trial(2).point, TRAINING, RATE).learning_rate
    )
    assert (made.settings["epochs"], made.settings["decay"]) == (8.0, "last-fifth")
    assert made.confirmation
    assert made.confirmation.curse(0.1) == pytest.approx(0.1)
    assert "10.00 points better" in made.sentences[-1]
    assert "1 of the trials diverged" in made.sentences
    assert made.change == pytest.approx(-0.2), "at 2 epochs, where both were"
    assert made.spent_s == pytest.approx(sum(one.cost_s for one in (*OUTCOMES, worse)))


def test_without_room_for_another_seed_it_says_that_its_figure_is_flattering(
    job: TuningJob,
) -> None:
    assert "no room" in proposal(job).sentences[-1]


def test_nothing_is_proposed_where_the_settings_as_they_are_did_best(job: TuningJob) -> None:
    now = [outcome(0, 0, heard(1)), outcome(1, 0, heard(2))]
    evaluations = {(0, 0): heard(1), (1, 0): heard(2)}
    trials = [trial(0), trial(1)]
    made = concluded(job, "demo/mine", trials, now, evaluations, TuningBudget(), 1.0, NOW)
    assert (made.winner, made.settings) == (0, {})


def test_nor_where_the_best_of_equals_is_only_cheaper(job: TuningJob) -> None:
    equal = [outcome(0, 0, heard(2)), outcome(1, 0, heard(2), whole_s=1.0)]
    evaluations = {(0, 0): heard(2), (1, 0): heard(2)}
    trials = [trial(0), trial(1)]
    made = concluded(job, "demo/mine", trials, equal, evaluations, TuningBudget(), 1.0, NOW)
    assert (made.winner, made.settings) == (1, {})
    assert any("nothing to change" in sentence for sentence in made.sentences)


def test_accepted_settings_take_the_place_of_a_retrainings_own(job: TuningJob) -> None:
    made = proposal(job)
    night = TRAINING.model_copy(update={"max_steps": 60, "seed": 9})
    training = followed(night, made)
    assert training.learning_rate == made.settings["learning_rate"]
    assert (training.seed, training.decay) == (9, "last-fifth")
    assert schedule_of(training, 10).steps == 80, "epochs take the place of a number of steps"


def test_the_picture_shows_trials_that_ended_and_the_other_seed(job: TuningJob) -> None:
    svg = tuning_svg(proposal(job, other_seed(heard(2)))).decode()
    assert svg.count("<!-- as now -->") == 1
    assert "<!-- 2 * -->" in svg
    assert "<!-- the winner, another seed -->" in svg


def test_rates_that_lie_close_have_a_few_marks_that_can_be_read(job: TuningJob) -> None:
    made = proposal(job, other_seed(heard(2)))
    rates = zip(made.tried, (2.66e-5, 2.8e-5, 3.75e-5), strict=False)
    close = [one.model_copy(update={"learning_rate": rate}) for one, rate in rates]
    svg = tuning_svg(made.model_copy(update={"tried": tuple(close)})).decode()
    marks = ("2.7e-05", "3e-05", "3.3e-05", "3.7e-05")
    assert [f"<!-- {mark} -->" in svg for mark in marks] == [True] * 4
    assert r"times 10^{" not in svg


# In S3


def test_of_two_tunings_at_once_the_first_fixes_a_trials_point_for_both(
    job: TuningJob, s3_store: S3Store
) -> None:
    def fixed(point: int) -> Trial:
        made = Trial(number=1, point=table_point(SPACE, point), origin="table")
        return Trials(s3_store, job).add(made)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fixed, range(8)))
    assert len({one.digest for one in found}) == 1
    assert Trials(s3_store, job).all() == [found[0]]


def test_later_tunings_see_earlier_ones_relative_to_the_base_model_and_not_themselves(
    job: TuningJob, s3_store: S3Store
) -> None:
    trials = Trials(s3_store, job)
    trials.begin(base_wer=0.5)
    trials.add(trial(0))
    trials.add(trial(1))
    trials.keep(outcome(0, 0, heard(2)))
    later = job.model_copy(update={"training": TRAINING.model_copy(update={"seed": 7})})
    assert Trials(s3_store, job).earlier() == []
    (one,) = Trials(s3_store, later).earlier()
    assert (one.point, one.losses) == (trial(0).point, {0: pytest.approx(0.4)})
    other_rungs = later.model_copy(update={"space": SearchSpace(epochs=(1, 2))})
    assert Trials(s3_store, other_rungs).earlier() == []


def test_a_trial_without_an_outcome_is_not_known_yet() -> None:
    assert known_of([trial(0), trial(1)], [outcome(1, 0, None)], 0.5, 3) == [
        Known(point=trial(1).point, losses={0: float("inf")}, finished=True)
    ]


def test_a_larger_budget_goes_on_with_the_same_tuning(job: TuningJob) -> None:
    threads = job.model_copy(update={"training": TRAINING.model_copy(update={"threads": 3})})
    assert threads.digest == job.digest
    assert "budget" not in type(job).model_fields


def test_a_person_accepts_the_newest_and_may_name_it_and_take_it_back(
    job: TuningJob, s3_store: S3Store
) -> None:
    made = proposal(job)
    with pytest.raises(InputError, match="no proposal"):
        accept(s3_store, made.release_repo, None, NOW)
    keep_proposal(s3_store, job.prefix, made)
    assert accepted_proposal(s3_store, made.release_repo) is None
    with pytest.raises(InputError, match="another one"):
        accept(s3_store, made.release_repo, "beef", NOW)
    accept(s3_store, made.release_repo, made.digest[:12], NOW)
    assert accepted_proposal(s3_store, made.release_repo) == made
    withdraw(s3_store, made.release_repo, NOW)
    assert accepted_proposal(s3_store, made.release_repo) is None

"""What follows from the validations so far: best step, patience, what to keep."""

from __future__ import annotations

import pytest

from whisper_retrain.config import TrainingConfig
from whisper_retrain.training.course import Course
from whisper_retrain.training.schedule import Schedule

SCHEDULE = Schedule(steps=100, warmup_steps=10, eval_steps=10)


def config(**changes: object) -> TrainingConfig:
    return TrainingConfig(**{"patience": 2, **changes})


def after(*wers: float, step: int | None = None) -> Course:
    found = {10 * (n + 1): wer for n, wer in enumerate(wers)}
    return Course(step=step if step is not None else max(found, default=0), wers=found)


def test_the_best_step_has_the_lowest_wer_and_is_the_latest_of_equals() -> None:
    course = after(0.3, 0.1, 0.2, 0.1, 0.15)
    assert (course.best_step, course.best_wer) == (40, 0.1)


@pytest.mark.parametrize(("words", "best"), [(100, 30), (100_000, 10)])
def test_steps_that_so_few_words_cannot_tell_apart_go_to_the_latest(words: int, best: int) -> None:
    course = after(0.188, 0.23, 0.204)  # standard error of 18.8 %: 3.9 and 0.1 points
    course.validation_words = words
    assert (course.lowest_step, course.best_step) == (10, best)


def test_weights_that_are_to_be_kept_are_there_to_be_kept() -> None:
    wers: list[float] = []
    kept: list[int] = []
    for wer in (0.3, 0.2, 0.24, 0.35, 0.22, 0.1, 0.3):
        wers.append(wer)
        course = after(*wers)
        course.validation_words = 100
        step = course.best_step
        assert step in {10 * len(wers), *kept}, "of this step, or kept before"
        kept = [step]


def test_the_base_model_is_never_the_best_step() -> None:
    course = after(0.3, 0.2)
    course.wers[0] = 0.05
    assert course.best_step == 20


def test_without_a_validation_there_is_no_best_step() -> None:
    assert after().best_step is None


def test_patience_counts_validations_without_a_better_wer() -> None:
    assert not after(0.3, 0.2, 0.25).out_of_patience(config())
    assert after(0.3, 0.2, 0.25, 0.21).out_of_patience(config())
    assert after(0.3, 0.2, 0.2, 0.2).out_of_patience(config())  # equal is not better


def test_the_last_step_is_always_validated() -> None:
    assert after(0.3, step=100).validation_is_due(config(), SCHEDULE)
    assert Course(step=37).validation_is_due(config(), Schedule(37, 4, 10))
    assert not Course(step=37).validation_is_due(config(), SCHEDULE)


def test_a_step_is_validated_once() -> None:
    assert not after(0.3).validation_is_due(config(), SCHEDULE)


def test_the_base_model_is_validated_if_asked_for() -> None:
    assert Course().validation_is_due(config(), SCHEDULE)
    assert not Course().validation_is_due(config(validate_base=False), SCHEDULE)


@pytest.mark.parametrize(
    ("average", "wanted"),
    [("none", [20]), ("last", [20, 40, 50]), ("best", [20, 30])],
)
def test_the_best_and_what_may_be_averaged_are_kept(average: str, wanted: list[int]) -> None:
    course = after(0.5, 0.1, 0.2, 0.4, 0.3)
    assert course.wanted(config(average=average, average_count=2)) == wanted


def test_the_time_left_counts_steps_and_validations() -> None:
    course = Course(step=60, training_s=120.0)
    assert course.eta_s(SCHEDULE, validation_s=5.0) == 40 * 2.0 + 4 * 5.0


def test_a_course_survives_its_way_through_json() -> None:
    course = after(0.3, 0.2)
    assert Course.model_validate_json(course.model_dump_json()) == course

"""Steps follow the data: epochs, warm-up and validations grow with it, whatever its size."""

from __future__ import annotations

import pytest

from whisper_retrain.config import TrainingConfig
from whisper_retrain.training.schedule import DEFAULT_EPOCHS, Schedule, passes, schedule_of


def test_twice_the_data_are_twice_the_steps() -> None:
    config = TrainingConfig(epochs=4, warmup_share=0.1, eval_share=0.25)
    assert schedule_of(config, 50) == Schedule(steps=200, warmup_steps=20, eval_steps=50)
    assert schedule_of(config, 100) == Schedule(steps=400, warmup_steps=40, eval_steps=100)


@pytest.mark.parametrize(
    ("epochs", "max_steps", "steps"),
    [
        (None, None, 50 * DEFAULT_EPOCHS),
        (None, 60, 60),
        (2.0, 60, 60),
        (1.0, 60, 50),
        (0.5, 60, 25),
    ],
)
def test_a_number_of_steps_stands_by_itself_and_bounds_epochs(
    epochs: float | None, max_steps: int | None, steps: int
) -> None:
    config = TrainingConfig(epochs=epochs, max_steps=max_steps)
    assert schedule_of(config, 50).steps == steps


def test_the_shortest_training_is_one_validated_step() -> None:
    assert schedule_of(TrainingConfig(epochs=0.01), 3) == Schedule(1, 0, 1)


def test_a_pass_is_every_utterance_once() -> None:
    assert passes(steps=60, batch_size=16, utterances=480) == 2.0


@pytest.mark.parametrize(("step", "rate"), [(0, 0.25), (3, 1.0), (4, 1.0), (9, 0.5), (13, 0.1)])
def test_the_learning_rate_rises_and_falls_in_straight_lines(step: int, rate: float) -> None:
    assert Schedule(14, warmup_steps=4, eval_steps=1).rate(step, 1.0) == pytest.approx(rate)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.5), (2, 1.0), (15, 1.0), (16, 1.0), (19, 0.25)])
def test_or_it_stays_at_its_peak_until_the_last_fifth(step: int, rate: float) -> None:
    config = TrainingConfig(max_steps=20, warmup_share=0.1, decay="last-fifth")
    assert schedule_of(config, 50).rate(step, 1.0) == pytest.approx(rate)


def test_so_a_longer_training_takes_the_same_steps_as_long_as_the_rate_is_constant() -> None:
    short = schedule_of(TrainingConfig(epochs=2, warmup_share=0.2, decay="last-fifth"), 37)
    long = schedule_of(TrainingConfig(epochs=8, warmup_share=0.05, decay="last-fifth"), 37)
    assert short.constant_steps == round(0.8 * 2 * 37)
    assert [short.rate(step, 1.0) for step in range(short.constant_steps)] == [
        long.rate(step, 1.0) for step in range(short.constant_steps)
    ]

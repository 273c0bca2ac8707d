"""How far a model's doubts can be trusted: golden cases, and what it says in words."""

from __future__ import annotations

import random

import pytest

from whisper_retrain.app.calibration import (
    LEAST_WORDS,
    Observation,
    calibrate,
    calibrated,
    fit_monotone,
    in_words,
    observe,
)
from whisper_retrain.evaluation.transcriber import Word


def observations(pairs: list[tuple[float, bool]]) -> list[Observation]:
    return [Observation(p, right) for p, right in pairs]


def test_pool_adjacent_violators_on_a_case_done_by_hand() -> None:
    """0, 1, 0, 1 over rising probabilities: the middle two are pooled to a half."""
    steps = fit_monotone(observations([(0.1, False), (0.2, True), (0.3, False), (0.4, True)]))
    assert steps == [(0.1, 0.0), (0.2, 0.5), (0.4, 1.0)]
    assert [calibrated(steps, p) for p in (0.05, 0.1, 0.35, 0.9)] == [0.0, 0.0, 0.5, 1.0]


def test_equal_probabilities_are_one_step() -> None:
    steps = fit_monotone(observations([(0.5, True), (0.5, False), (0.5, True), (0.5, True)]))
    assert steps == [(0.5, 0.75)]


def an_overconfident_model(utterances: int) -> list[list[Observation]]:
    """Claims p, is right with p squared; ten words an utterance."""
    draw = random.Random(1)
    claims = [[draw.random() for _ in range(10)] for _ in range(utterances)]
    return [[Observation(p, draw.random() < p * p) for p in row] for row in claims]


def test_an_overconfident_model_is_seen_through() -> None:
    """Right with p squared: 80 % are right from p = 0.894 on."""
    found = calibrate(an_overconfident_model(2000))
    assert found is not None
    assert found.check_below == pytest.approx(0.894, abs=0.03)
    assert found.error < 0.02
    assert found.marked_wrong / found.marked > 0.5
    assert found.unmarked_wrong / found.unmarked < 0.15
    assert found.marked + found.unmarked == found.words // 2


def test_under_two_thousand_words_nothing_is_marked_and_it_says_why() -> None:
    assert calibrate(an_overconfident_model(LEAST_WORDS // 10 - 1)) is None
    assert "2,000 words" in in_words("too-few-words")
    assert "is being tried" in in_words("not-yet")


def test_the_figures_are_said_in_counts_and_never_as_a_bare_per_cent() -> None:
    found = calibrate(an_overconfident_model(2000))
    assert found is not None
    said = in_words(found)
    assert "in 100" in said
    assert "in a hundred" in said
    assert "%" not in said


def test_a_word_is_right_where_the_reference_has_it() -> None:
    words = [Word(w, 0, 0, p) for w, p in [("no", 0.9), ("favor", 0.4), ("now", 0.2)]]
    assert observe("No fever.", words) == [
        Observation(0.9, True),
        Observation(0.4, False),
        Observation(0.2, False),
    ]

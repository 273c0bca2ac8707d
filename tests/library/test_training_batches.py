"""Which utterances make a step: a pure function of seed and step."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_retrain.training import batches
from whisper_retrain.training.batches import (
    BatchPlan,
    StepPlan,
    context_s,
    micro_batches,
    share_of,
)

DURATIONS = tuple(1.0 + (n * 37 % 100) / 20 for n in range(103))


def plan(**changes: object) -> BatchPlan:
    return BatchPlan(**{"durations_s": DURATIONS, "batch_size": 8, "seed": 1, **changes})


def test_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    forwards = [plan().at(step) for step in range(40)]
    backwards = [plan().at(step) for step in reversed(range(40))]
    assert forwards == backwards[::-1]


def test_an_epoch_uses_no_utterance_twice_and_leaves_out_less_than_a_batch() -> None:
    steps = plan().steps_per_epoch
    drawn = [index for step in range(steps) for index in plan().at(step).indices]
    assert len(drawn) == len(set(drawn)) == 96


def test_epochs_are_shuffled_anew_and_leave_out_others() -> None:
    steps = plan().steps_per_epoch
    first = [plan().at(step).indices for step in range(steps)]
    second = [plan().at(step).indices for step in range(steps, 2 * steps)]
    assert first != second
    assert set(sum(first, ())) != set(sum(second, ()))


def test_another_seed_draws_other_batches() -> None:
    assert plan(seed=2).at(0).indices != plan().at(0).indices


def test_fewer_utterances_than_a_batch_are_repeated_evenly() -> None:
    drawn = Counter(plan(durations_s=(1.0, 2.0, 3.0)).at(5).indices)
    assert sum(drawn.values()) == 8
    assert set(drawn.values()) == {2, 3}


def test_buckets_hold_utterances_alike_in_length() -> None:
    def spread(bucket_batches: int) -> float:
        one = plan(bucket_batches=bucket_batches)
        lengths = [[DURATIONS[i] for i in one.at(step).indices] for step in range(12)]
        return sum(max(batch) - min(batch) for batch in lengths)

    assert spread(12) < 0.25 * spread(1)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1 / 3, 1.0])
def test_the_share_of_full_context_is_exact_and_evenly_spread(share: float) -> None:
    flags = [plan(full_context_share=share).at(step).full_context for step in range(120)]
    assert sum(flags) == round(120 * share)
    assert abs(sum(flags[:60]) - 60 * share) <= 1


def test_an_epoch_is_planned_once_however_many_of_its_steps_are_asked_for() -> None:
    one = plan(durations_s=tuple(DURATIONS[n % 103] for n in range(10_000)))
    before = batches._epoch.cache_info().misses
    for step in range(one.steps_per_epoch):
        one.at(step)
    assert batches._epoch.cache_info().misses == before + 1


@given(
    durations=st.lists(st.floats(0.2, 30.0), min_size=1, max_size=40),
    budget_s=st.floats(1.0, 200.0),
    full=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_micro_batches_hold_every_utterance_once_and_keep_to_the_budget(
    durations: list[float], budget_s: float, full: bool
) -> None:
    pieces = micro_batches(durations, budget_s, 1.0, full)
    assert sorted(i for piece in pieces for i in piece) == list(range(len(durations)))
    for piece in pieces:
        longest = max(durations[i] for i in piece)
        padded_s = 30.0 if full else context_s(longest, 1.0)
        assert len(piece) * padded_s <= budget_s + 1e-6 or len(piece) == 1


def test_a_context_ends_after_the_margin_in_multiples_of_sixteen_positions() -> None:
    assert context_s(3.0, 1.0) == pytest.approx(4.16)
    assert context_s(2.2, 1.0) == pytest.approx(3.2)  # already a multiple
    assert context_s(29.5, 1.0) == 30.0  # never beyond what the model knows


def test_processes_share_a_batch_without_overlap_and_alike_in_length() -> None:
    step = StepPlan(0, tuple(range(9)), full_context=False)
    shares = [share_of(step, DURATIONS, rank, 2) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == list(range(9))
    longest = [max(DURATIONS[i] for i in share) for share in shares]
    assert abs(longest[0] - longest[1]) < 1.9

"""Which utterances make a step: a pure function of seed and step."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_retrain.training import batches
from whisper_retrain.training.batches import (
    BatchPlan,
    Packing,
    StepPlan,
    Window,
    context_s,
    micro_batches,
    share_of,
)
from whisper_retrain.whisper_constants import CONTEXT_S

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


def test_with_new_utterances_half_of_what_is_drawn_is_new() -> None:
    new = tuple(n >= 93 for n in range(103))
    one = plan(new=new)
    drawn = [index for step in range(one.steps_per_epoch) for index in one.at(step).indices]
    assert sum(new[index] for index in drawn) == len(drawn) / 2
    replayed = [index for index in drawn if not new[index]]
    assert len(set(replayed)) == len(replayed), "none of the known ones twice"


@pytest.mark.parametrize("kind", [False, True])
def test_where_all_are_new_or_none_is_nothing_changes(kind: bool) -> None:
    assert plan(new=(kind,) * len(DURATIONS)).at(3) == plan().at(3)


def test_buckets_hold_utterances_alike_in_length() -> None:
    def spread(bucket_batches: int) -> float:
        one = plan(bucket_batches=bucket_batches)
        lengths = [[DURATIONS[i] for i in one.at(step).indices] for step in range(12)]
        return sum(max(batch) - min(batch) for batch in lengths)

    assert spread(12) < 0.25 * spread(1)


SPEAKERS = tuple(f"speaker {n % 5}" for n in range(103))


def packing(share: float, at_most: int | None = None, silent_share: float = 0.0) -> BatchPlan:
    return plan(packing=Packing(share, at_most, silent_share), speakers=SPEAKERS)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_share_in_windows_is_exact_and_an_epoch_uses_no_utterance_twice(share: float) -> None:
    one = packing(share)
    steps = [one.at(step) for step in range(one.steps_per_epoch)]
    alone = [index for step in steps for index in step.indices]
    together = [index for step in steps for window in step.windows for index in window.indices]
    assert sorted({*alone, *together}) == sorted(alone + together)
    # A step whose utterances are all in windows keeps one by itself: there are fewer windows.
    assert len(together) == min(round(96 * share), 96 - 12)
    assert min(len(step.indices) for step in steps) >= 1


def test_a_window_has_one_speaker_and_is_filled_at_random_up_to_what_fits() -> None:
    one = packing(0.9)
    windows = [w for step in range(60) for w in one.at(step).windows]
    assert all(len({SPEAKERS[index] for index in window.indices}) == 1 for window in windows)
    spoken_s = [sum(DURATIONS[index] for index in window.indices) for window in windows]
    assert min(spoken_s) < 6.0  # one utterance, silence after it
    # At most one more than fits, which is then cut.
    assert max(spoken_s) < CONTEXT_S + max(DURATIONS)
    assert len({window.seed for window in windows}) == len(windows)


def test_a_window_of_at_most_one_utterance_is_the_full_context() -> None:
    one = packing(0.5, at_most=1)
    windows = [w for step in range(12) for w in one.at(step).windows]
    assert [len(window.indices) for window in windows] == [1] * 48


def test_now_and_then_nobody_speaks() -> None:
    one = packing(0.5, at_most=1, silent_share=0.25)
    windows = [w for step in range(12) for w in one.at(step).windows]
    assert sum(not window.indices for window in windows) == 12


def test_a_batch_of_one_utterance_keeps_it_by_itself() -> None:
    one = plan(batch_size=1, packing=Packing(1.0))
    assert all(len(one.at(step).indices) == 1 for step in range(10))


def test_an_epoch_is_planned_once_however_many_of_its_steps_are_asked_for() -> None:
    one = plan(durations_s=tuple(DURATIONS[n % 103] for n in range(10_000)))
    before = batches._epoch.cache_info().misses
    for step in range(one.steps_per_epoch):
        one.at(step)
    assert batches._epoch.cache_info().misses == before + 1


@given(
    durations=st.lists(st.floats(0.2, 30.0), min_size=1, max_size=40),
    budget_s=st.floats(1.0, 200.0),
    margin_s=st.sampled_from([1.0, CONTEXT_S]),
)
@settings(max_examples=200, deadline=None)
def test_micro_batches_hold_every_utterance_once_and_keep_to_the_budget(
    durations: list[float], budget_s: float, margin_s: float
) -> None:
    pieces = micro_batches(durations, budget_s, margin_s)
    assert sorted(i for piece in pieces for i in piece) == list(range(len(durations)))
    for piece in pieces:
        longest = max(durations[i] for i in piece)
        padded_s = context_s(longest, margin_s)
        assert len(piece) * padded_s <= budget_s + 1e-6 or len(piece) == 1


def test_a_context_ends_after_the_margin_in_multiples_of_sixteen_positions() -> None:
    assert context_s(3.0, 1.0) == pytest.approx(4.16)
    assert context_s(2.2, 1.0) == pytest.approx(3.2)  # already a multiple
    assert context_s(29.5, 1.0) == 30.0  # never beyond what the model knows


def test_processes_share_a_batch_without_overlap_and_alike_in_length() -> None:
    windows = tuple(Window((index,), index) for index in range(9, 13))
    step = StepPlan(0, tuple(range(9)), windows)
    shares = [share_of(step, DURATIONS, rank, 2) for rank in range(2)]
    alone = [[p for p in share if isinstance(p, int)] for share in shares]
    assert sorted(alone[0] + alone[1]) == list(range(9))
    assert [len(share) - len(own) for share, own in zip(shares, alone, strict=True)] == [2, 2]
    longest = [max(DURATIONS[i] for i in own) for own in alone]
    assert abs(longest[0] - longest[1]) < 1.9

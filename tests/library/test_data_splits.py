"""Splits: laws that hold for any data, and the figures of the real dataset's structure."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_retrain.config import SplitPolicy
from whisper_retrain.data.splits import (
    NOTHING_BEFORE,
    Placed,
    Side,
    assign_splits,
    cut_at,
    leakage_matrix,
)

HELD_OUT = {"test", "vault"}
law = settings(max_examples=100, deadline=None)


def utterance(number: int, speaker: str | None, phrase: str) -> Placed:
    digest = hashlib.sha256(f"{number}".encode()).hexdigest()
    return Placed(f"main/{number}", speaker, phrase, digest)


utterances = st.lists(
    st.tuples(st.integers(0, 15), st.integers(0, 25)), min_size=1, max_size=120
).map(lambda pairs: [utterance(i, f"s{s}", f"phrase {p}") for i, (s, p) in enumerate(pairs)])

policies = st.builds(
    SplitPolicy,
    disjoint=st.sampled_from(["speaker-and-phrase", "speaker", "phrase", "none"]),
    test_share=st.sampled_from([0.1, 0.2, 0.3]),
    validation_share=st.sampled_from([0.06, 0.2]),
    vault_share=st.sampled_from([0.0, 0.3]),
    test_speakers=st.sampled_from([(), ("s1", "s4")]),
)


def real_structure(seed: int = 1) -> list[Placed]:
    """The PaulMooney dataset's: 124 speakers with at most 75 utterances, 706 phrases, 6,661 rows.

    Some speakers and phrases are said far more often than others (median 10 recordings a phrase);
    whoever speaks says any phrase, so that all hang together in one component.
    """
    rng = random.Random(seed)
    phrases = [f"phrase {n}" for n in range(706)]
    often = [rng.lognormvariate(0, 0.45) for _ in phrases]
    room = {f"s{n}": min(75, max(5, int(rng.gauss(56, 22)))) for n in range(124)}
    rows: list[Placed] = []
    while len(rows) < 6_661:
        speaker = rng.choice([s for s, left in room.items() if left > 0] or list(room))
        room[speaker] -= 1
        rows.append(utterance(len(rows), speaker, rng.choices(phrases, often)[0]))
    return rows


@law
@given(utterances, policies)
def test_every_utterance_is_in_one_split_or_dropped(
    rows: list[Placed], policy: SplitPolicy
) -> None:
    found = assign_splits(rows, policy)
    assert set(found.splits) | set(found.dropped) == {u.key for u in rows}
    assert not set(found.splits) & set(found.dropped)


@law
@given(utterances, policies)
def test_held_out_splits_share_nothing_with_train(rows: list[Placed], policy: SplitPolicy) -> None:
    found = assign_splits(rows, policy)
    held = [u for u in rows if found.splits.get(u.key) in HELD_OUT]
    validation = [u for u in rows if found.splits.get(u.key) == "validation"]
    train = [u for u in rows if found.splits.get(u.key) == "train"]
    if "speaker" in policy.disjoint:
        assert not {u.speaker for u in held} & {u.speaker for u in [*train, *validation]}
    if "phrase" in policy.disjoint:
        assert not {u.phrase for u in held} & {u.phrase for u in [*train, *validation]}
    assert not {u.phrase for u in validation} & {u.phrase for u in train}


@law
@given(utterances, policies, st.integers(0, 120), st.randoms(use_true_random=False))
def test_new_data_moves_no_utterance_from_one_split_to_another(
    rows: list[Placed], policy: SplitPolicy, first: int, rng: random.Random
) -> None:
    before = assign_splits(rows[:first], policy)
    sides: dict[str, Side] = {
        u.phrase: "test" if before.splits[u.key] in HELD_OUT else "train"
        for u in rows[:first]
        if u.key in before.splits
    }
    grown = list(rows)
    rng.shuffle(grown)
    after = assign_splits(grown, policy, before.cuts if first else None, sides)
    for key, split in before.splits.items():
        assert after.splits.get(key) == split


@law
@given(utterances, policies, st.randoms(use_true_random=False))
def test_splits_do_not_depend_on_the_order(
    rows: list[Placed], policy: SplitPolicy, rng: random.Random
) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert assign_splits(rows, policy).splits == assign_splits(shuffled, policy).splits


@pytest.mark.parametrize("salt", ["whisper-retrain", "a", "b", "c"])
def test_the_real_structure_lands_where_it_was_measured(salt: str) -> None:
    """20 % x 20 % of the real dataset, measured: test 255, train 4,287, dropped 2,119."""
    found = assign_splits(real_structure(), SplitPolicy(salt=salt, test_share=0.2))
    sizes = Counter(found.splits.values())
    assert sizes["test"] == pytest.approx(255, rel=0.15)
    assert sizes["train"] + sizes["validation"] == pytest.approx(4_287, rel=0.03)
    assert len(found.dropped) == pytest.approx(2_119, rel=0.05)


def test_a_dataset_that_begins_now_tests_on_thirty_percent() -> None:
    now = assign_splits(real_structure(), SplitPolicy())
    assert now == assign_splits(real_structure(), SplitPolicy(test_share=0.3))


@pytest.mark.parametrize(
    ("disjoint", "share", "test", "train"),
    [("speaker-and-phrase", 0.3, 582, 3_308), ("phrase", 0.15, 1_019, 5_642)],
)
def test_other_policies_on_the_real_structure(
    disjoint: str, share: float, test: int, train: int
) -> None:
    policy = SplitPolicy.model_validate({"disjoint": disjoint, "test_share": share})
    sizes = Counter(assign_splits(real_structure(), policy).splits.values())
    assert sizes["test"] == pytest.approx(test, rel=0.1)
    assert sizes["train"] + sizes["validation"] == pytest.approx(train, rel=0.03)


def test_a_random_split_of_the_real_structure_leaks_nearly_every_phrase() -> None:
    rows = real_structure()
    splits = assign_splits(rows, SplitPolicy(disjoint="none")).splits
    matrix = leakage_matrix(rows, splits)["test"]
    seen = sum(n for cell, n in matrix.items() if cell.endswith("/seen-phrase"))
    # The phrases of validation are all that train does not know.
    assert seen / sum(matrix.values()) > 0.9


def test_an_unknown_speaker_is_never_tested_on() -> None:
    rows = [utterance(n, None if n % 2 else f"s{n % 7}", f"p{n % 11}") for n in range(300)]
    splits = assign_splits(rows, SplitPolicy(disjoint="speaker")).splits
    assert {splits[u.key] for u in rows if u.speaker is None} <= {"train", "validation"}
    assert "test" in splits.values()


def test_named_test_speakers_keep_the_phrases_that_only_they_say() -> None:
    theirs = [utterance(n, "s-test", f"theirs {n}") for n in range(10)]
    others = [utterance(100 + n, f"s{n % 3}", f"ours {n}") for n in range(30)]
    found = assign_splits([*theirs, *others], SplitPolicy(test_speakers=("s-test",)))
    assert {found.splits[u.key] for u in theirs} == {"test"}
    assert not found.dropped


def test_general_speech_is_all_tested_on_but_that_of_some_speakers() -> None:
    rows = [utterance(n, f"s{n % 8}" if n % 9 else None, f"phrase {n % 5}") for n in range(160)]
    policy = SplitPolicy(disjoint="guard", validation_share=0.25)
    first = assign_splits(rows[:80], policy)
    found = assign_splits(rows, policy, first.cuts)
    by_split = {
        split: {u.speaker for u in rows if found.splits[u.key] == split}
        for split in ("test", "validation")
    }
    assert len(by_split["validation"]) == 2
    assert not by_split["validation"] & by_split["test"]
    assert None in by_split["test"], "who nobody knows may be anybody"
    assert {*found.splits.values()} == {"test", "validation"}
    assert not found.dropped
    assert first.splits.items() <= found.splits.items(), "what comes later moves nobody"


def test_general_speech_of_one_speaker_has_nobody_to_spare() -> None:
    rows = [utterance(n, "s1", f"phrase {n}") for n in range(9)]
    assert {*assign_splits(rows, SplitPolicy(disjoint="guard")).splits.values()} == {"test"}


def test_a_share_of_the_test_set_can_be_set_aside() -> None:
    rows = real_structure()
    plain = assign_splits(rows, SplitPolicy()).splits
    aside = assign_splits(rows, SplitPolicy(vault_share=0.5)).splits
    vault = {key for key, split in aside.items() if split == "vault"}
    assert vault | {k for k, s in aside.items() if s == "test"} == {
        k for k, s in plain.items() if s == "test"
    }
    assert 0.3 < len(vault) / sum(split == "test" for split in plain.values()) < 0.7


def cut_among(counts: list[int]) -> int | None:
    """Where a fifth lies of values at the places 10, 11 and so on."""
    places = np.arange(10, 10 + len(counts), dtype=np.uint64)
    cut = cut_at(places, np.array(counts, dtype=np.int64), 0.2)
    return None if cut == NOTHING_BEFORE else int(cut, 16)


def test_cuts_are_as_near_to_the_share_as_whole_values_allow() -> None:
    assert cut_among([1, 1, 1, 1, 1]) == 10
    assert cut_among([9, 1]) == 10
    assert cut_among([1, 1, 8]) == 11
    assert cut_among([1]) is None
    assert cut_among([]) is None

"""Splits for the size: the strictest whose test set is large enough to decide anything."""

from __future__ import annotations

import pytest

from whisper_retrain.config import SplitPolicy
from whisper_retrain.data.listed import ListedText
from whisper_retrain.data.proposal import MIN_TRAIN_SHARE, RESERVE, look_ahead, propose_splits
from whisper_retrain.data.splits import digest_of_test_policy
from whisper_retrain.errors import InputError

MIN_WORDS = 200


def texts(speakers: int, phrases: int, words: int = 10) -> list[ListedText]:
    """Every speaker says every phrase; without speakers, each phrase is said once."""
    return [
        ListedText(phrase, phrase, f"s{speaker}" if speakers else None)
        for speaker in range(max(1, speakers))
        for phrase in (f"{number} " + "word " * (words - 1) for number in range(phrases))
    ]


def dictations(speakers: int, each: int, words: int = 10) -> list[ListedText]:
    """Nobody says what another says."""
    return [
        ListedText(phrase, phrase, f"s{speaker}")
        for speaker in range(speakers)
        for phrase in (f"{speaker} {n} " + "word " * (words - 2) for n in range(each))
    ]


def test_a_large_dataset_is_split_by_speaker_and_phrase() -> None:
    assert propose_splits(texts(20, 50), MIN_WORDS) == SplitPolicy(test_share=0.2)


def test_dictations_that_share_no_phrase_are_split_by_speaker_and_nothing_is_dropped() -> None:
    said = dictations(20, 20)
    chosen = propose_splits(said, MIN_WORDS)
    assert (chosen.disjoint, chosen.test_share) == ("speaker", 0.2)
    outlook = look_ahead(said, chosen)
    assert (outlook.dropped, outlook.known_phrases, outlook.known_speakers) == (0, 0.0, 0.0)


@pytest.mark.parametrize("speakers", [0, 1])
def test_one_speaker_or_none_known_is_split_by_phrase(speakers: int) -> None:
    chosen = propose_splits(texts(speakers, 200), MIN_WORDS)
    assert (chosen.disjoint, chosen.test_share) == ("phrase", 0.2)


def test_a_small_dataset_gives_a_larger_share_and_is_large_enough_with_it() -> None:
    said = texts(0, 80)
    assert look_ahead(said, SplitPolicy(disjoint="phrase", test_share=0.2)).test_words < MIN_WORDS
    chosen = propose_splits(said, MIN_WORDS)
    assert chosen.test_share > 0.2
    assert look_ahead(said, chosen).test_words >= RESERVE * MIN_WORDS


def test_too_small_a_dataset_gives_the_most_words_that_leave_something_to_train_on() -> None:
    said = texts(0, 30)
    chosen = propose_splits(said, MIN_WORDS)
    outlook = look_ahead(said, chosen)
    assert outlook.test_words < MIN_WORDS
    assert chosen.test_share == 0.4
    assert outlook.utterances["train"] >= MIN_TRAIN_SHARE * len(said)


def test_a_stricter_split_that_leaves_too_little_to_train_on_is_not_taken() -> None:
    said = texts(10, 20)
    strict = look_ahead(said, SplitPolicy(test_share=0.4))
    assert strict.test_words >= RESERVE * MIN_WORDS, "disjoint by both, it drops half"
    chosen = propose_splits(said, MIN_WORDS)
    assert chosen.disjoint != strict.policy.disjoint
    assert look_ahead(said, chosen).utterances["train"] >= MIN_TRAIN_SHARE * len(said)


def test_validation_gets_enough_utterances_to_choose_a_checkpoint_by() -> None:
    large, small = propose_splits(texts(20, 50), MIN_WORDS), propose_splits(texts(0, 80), MIN_WORDS)
    assert large.validation_share == SplitPolicy().validation_share
    assert small.validation_share == 0.2


def test_a_test_set_that_can_decide_stays_the_test_set_though_a_stricter_one_became_possible() -> (
    None
):
    small, grown = texts(3, 30), texts(20, 50)
    before = digest_of_test_policy(propose_splits(small, MIN_WORDS))
    assert digest_of_test_policy(propose_splits(grown, MIN_WORDS)) != before
    assert digest_of_test_policy(propose_splits(grown, MIN_WORDS, before)) == before


def test_one_sentence_alone_cannot_be_split() -> None:
    with pytest.raises(InputError, match=r"12 recordings of 1 sentences.*other sentences"):
        propose_splits(texts(12, 1), MIN_WORDS)

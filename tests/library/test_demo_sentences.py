"""The demo's sentences and who reads them: enough, all different, and separable."""

import itertools
from collections import Counter, defaultdict

import pytest
from rapidfuzz import fuzz

from whisper_retrain.data.text import fold_phrase
from whisper_retrain.local.demo.plan import (
    FAULTY_DROP_2,
    TEST_GROUPS,
    everyday_readings,
    readings,
    sentences,
)
from whisper_retrain.local.demo.speakers import (
    DEMO_TEST_SPEAKERS,
    DEMO_VALIDATION_SPEAKERS,
    EVERYDAY_SPEAKERS,
    NEW_SPEAKERS,
    SPEAKERS,
    TEST_SPEAKERS,
    TRAIN_SPEAKERS,
)

TRAINED = ("train", "validation", "next")
MEDICAL = (*TRAINED, *TEST_GROUPS)
GROUPS = (*MEDICAL, "everyday")


def _phrases(*groups: str) -> list[str]:
    return [fold_phrase(sentence.text) for group in groups for sentence in sentences(group)]


def test_there_are_enough_sentences_of_every_kind() -> None:
    assert len(_phrases("train", "validation", "test")) >= 330
    assert len(_phrases("next")) >= 60
    assert len(_phrases("everyday")) == 40
    assert len({sentence.prompt for group in MEDICAL for sentence in sentences(group)}) >= 20


def test_no_sentence_comes_twice_whatever_its_case_and_punctuation() -> None:
    counts = Counter(_phrases(*GROUPS))
    assert [phrase for phrase, count in counts.items() if count > 1] == []


def test_no_sentence_of_the_test_set_is_nearly_one_that_is_trained_on() -> None:
    pairs = itertools.product(_phrases(*TEST_GROUPS), _phrases(*TRAINED))
    assert [pair for pair in pairs if fuzz.ratio(*pair) > 85] == []


def test_sentences_are_plain_text_that_ends_as_a_sentence_does() -> None:
    for group in GROUPS:
        for sentence in sentences(group):
            assert sentence.text.isascii(), sentence
            assert sentence.text[0].isupper(), sentence
            assert sentence.text[-1] in ".?", sentence
            assert 3 <= len(sentence.text.split()) <= 14, sentence


def test_test_speakers_have_voices_that_nobody_else_has() -> None:
    others = {s.voice for s in SPEAKERS.values() if s.id not in DEMO_TEST_SPEAKERS}
    assert len(SPEAKERS) == len(TRAIN_SPEAKERS) + len(NEW_SPEAKERS) + 30 + 2
    assert len({s.voice for s in TEST_SPEAKERS} - others) == len(TEST_SPEAKERS) == 30
    assert len({s.voice for s in SPEAKERS.values() if s.engine == "espeak"}) >= 6
    assert {s.engine for s in SPEAKERS.values()} == {"espeak", "piper"}


def test_native_rates_differ_as_among_phones() -> None:
    assert {s.rate_hz for s in SPEAKERS.values()} >= {8_000, 16_000, 22_050, 44_100, 48_000}


def test_the_corpus_can_be_split_with_disjoint_speakers_and_phrases() -> None:
    readers = defaultdict(set)
    for reading in readings(1):
        readers[fold_phrase(reading.sentence)].add(reading.speaker_id)
    test = [r for r in readings(1) if r.speaker_id in DEMO_TEST_SPEAKERS]
    own = [r for r in test if readers[fold_phrase(r.sentence)] <= set(DEMO_TEST_SPEAKERS)]
    assert len(own) == 326
    assert min(Counter(r.speaker_id for r in own).values()) >= 9
    assert len(test) - len(own) == 12, "and some utterances that such a split has to drop"


def test_drop_1_has_what_a_retraining_needs() -> None:
    by_role = Counter(
        "test"
        if r.speaker_id in DEMO_TEST_SPEAKERS
        else "validation"
        if r.speaker_id in DEMO_VALIDATION_SPEAKERS
        else "train"
        for r in readings(1)
    )
    assert by_role == {"train": 437, "validation": 40, "test": 338}
    assert not any(reading.fault for reading in readings(1))


def test_drop_2_has_new_sentences_new_speakers_and_every_fault() -> None:
    good = [reading for reading in readings(2) if not reading.fault]
    assert {reading.sentence for reading in good} > {s.text for s in sentences("next")}
    assert {speaker.id for speaker in NEW_SPEAKERS} < {reading.speaker_id for reading in good}
    assert len(good) == 463, "as many as drop 1 has to train on"
    assert Counter(FAULTY_DROP_2.values()) == {
        "undecodable": 2,
        "empty-reference": 2,
        "too-long": 1,
        "duplicate-audio": 1,
        "test-set-leak": 1,
    }
    assert {r.id: r.fault for r in readings(2) if r.fault} == FAULTY_DROP_2


def test_the_test_set_asks_for_terms_that_only_drop_2_brings() -> None:
    def words(*groups: str) -> set[str]:
        return {word for phrase in _phrases(*groups) for word in phrase.split() if len(word) > 7}

    later = words("test") & words("next") - words("train", "validation")
    assert {"propranolol", "metronidazole", "endocarditis"} < later
    assert len(later) >= 25


def test_a_test_recording_is_sneaked_in_under_the_name_of_a_train_speaker() -> None:
    originals = {reading.id: reading for reading in readings(1)}
    sneaked = next(r for r in readings(2) if r.fault == "test-set-leak")
    assert originals[sneaked.copied].speaker_id in DEMO_TEST_SPEAKERS
    assert sneaked.speaker_id in {speaker.id for speaker in TRAIN_SPEAKERS}
    assert sneaked.id not in originals


def test_ids_are_unique_over_all_drops() -> None:
    ids = [reading.id for drop in (1, 2) for reading in readings(drop)]
    assert len(set(ids)) == len(ids)
    assert {r.speaker_id for r in everyday_readings()} == {s.id for s in EVERYDAY_SPEAKERS}


def test_an_unknown_drop_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no drop 3; expected one of \(1, 2\)"):
        readings(3)

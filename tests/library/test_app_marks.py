"""What is marked in a transcript, and the files that it is downloaded as."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from whisper_retrain.app.downloads import as_json, as_srt, as_text
from whisper_retrain.app.marks import align, find_loops, find_terms, mark
from whisper_retrain.app.transcription import Hearing, ModelAt, Speech, Transcription
from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.evaluation.transcriber import Word
from whisper_retrain.release.notifications import NON_CLINICAL


def words_of(text: str, probability: float = 0.9) -> tuple[Word, ...]:
    """Half a second for each word."""
    return tuple(
        Word(word, i * 0.5, i * 0.5 + 0.4, probability) for i, word in enumerate(text.split())
    )


def a_transcription(text: str) -> Transcription:
    speech = Speech("a" * 64, 3.0, 48_000, 44_100, -20.0, 0.0)
    hearing = Hearing(ModelAt("demo/whisper", "c" * 40), text, words_of(text), 0.5)
    return Transcription(speech, {"champion": hearing}, datetime(2026, 11, 22, tzinfo=UTC))


def test_case_and_punctuation_are_no_difference() -> None:
    found = mark(
        words_of("take aspirin now"), default_lexicon(), None, words_of("Take aspirin, now.")
    )
    assert [word.difference for word in found] == ["equal"] * 3


def test_a_word_left_out_is_shown_where_it_was() -> None:
    found = align(["he", "has", "no", "fever", "x"], ["he", "has", "fever", "x", "now"])
    assert found == [
        ("equal", 0, "he"),
        ("equal", 1, "has"),
        ("delete", 2, "no"),
        ("equal", 2, "fever"),
        ("equal", 3, "x"),
        ("insert", 4, "now"),
    ]


def test_a_word_of_nothing_but_a_dash_keeps_its_place() -> None:
    assert [index for _, index, _ in align(["a", "-", "b"], ["a", "-", "b"])] == [0, 1, 2]


def test_one_side_empty() -> None:
    assert align([], ["yes"]) == [("insert", 0, "yes")]
    assert align(["yes"], []) == [("delete", 0, "yes")]
    assert mark((), default_lexicon()) == []


def test_terms_of_several_words_are_one_term_with_a_tier() -> None:
    words = ["He", "has", "Diabetes", "Mellitus", "and", "takes", "amoxicillin."]
    found = find_terms(words, default_lexicon())
    assert found[2] == found[3] == "diagnosis"
    assert found[6] == "drug"
    assert not {0, 1, 4, 5} & found.keys()


def test_words_are_to_be_checked_below_the_bound_only_and_never_without_one() -> None:
    words = (*words_of("sure", 0.9), *words_of("unsure", 0.3))
    assert [w.check for w in mark(words, default_lexicon(), 0.5)] == [False, True]
    assert [w.check for w in mark(words, default_lexicon(), None)] == [False, False]


def test_a_loop_is_to_be_checked_however_sure_the_model_is() -> None:
    text = "thank you for watching this " * 2
    assert find_loops(text.split()) == frozenset(range(5, 10))
    marked = mark(words_of(text, 0.99), default_lexicon(), 0.5)
    assert [w.check for w in marked] == [False] * 5 + [True] * 5


def test_every_file_says_that_it_is_not_for_clinical_use() -> None:
    transcription = a_transcription("Take two tablets. Then rest.")
    for text in (as_text(transcription), as_srt(transcription), as_json(transcription)):
        assert NON_CLINICAL in text


def test_subtitles_begin_anew_with_a_sentence() -> None:
    cues = as_srt(a_transcription("Take two tablets. Then rest.")).strip().split("\n\n")
    assert cues[1] == "2\n00:00:00,000 --> 00:00:01,400\nTake two tablets."
    assert cues[2] == "3\n00:00:01,500 --> 00:00:02,400\nThen rest."


def test_json_holds_times_and_probabilities() -> None:
    facts = json.loads(as_json(a_transcription("Yes.")))
    assert facts["transcripts"]["champion"]["words"] == [
        {"text": "Yes.", "start_s": 0.0, "end_s": 0.4, "probability": 0.9}
    ]

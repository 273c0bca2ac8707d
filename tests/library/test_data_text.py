"""Folding of phrases, and repair of references."""

import pytest

from whisper_retrain.data.text import fold_phrase, repair_reference


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("My cough is very heavy.", "my cough is very heavy"),
        ("I can't sleep", "I can’t  sleep!"),
        ("It's 38 °C", "its 38 c"),
        ("ＦＵＬＬ width", "full width"),
        ("post-operative pain", "post operative pain"),
    ],
)
def test_phrases_that_differ_by_case_and_punctuation_are_one(one: str, other: str) -> None:
    assert fold_phrase(one) == fold_phrase(other)


def test_other_words_are_another_phrase() -> None:
    assert fold_phrase("I feel pain") != fold_phrase("I feel no pain")
    assert fold_phrase("naïve") != fold_phrase("naive")
    assert fold_phrase("...") == ""


@pytest.mark.parametrize(
    ("broken", "repaired"),
    [
        ("It doesn√ït hurt", "It doesn't hurt"),  # as in the PaulMooney dataset
        ("I canâ€™t breathe", "I can't breathe"),  # UTF-8 read as Windows-1252
        ("38Â°C since Monday", "38°C since Monday"),
        ("cafÃ© au lait spots", "café au lait spots"),
        ("caf√© au lait spots", "café au lait spots"),  # UTF-8 read as Mac Roman
        ("I don‚Äôt know", "I don't know"),
    ],
)
def test_mojibake_is_undone_where_that_can_be_done(broken: str, repaired: str) -> None:
    found = repair_reference(broken)
    assert (found.text, found.notes, found.mojibake) == (repaired, ("mojibake-repaired",), False)


def test_what_cannot_be_undone_is_said_to_be_mojibake() -> None:
    assert repair_reference("I can\ufffdt breathe").mojibake


@pytest.mark.parametrize(
    "text",
    [
        "Ménière's disease",
        "naïve",
        "Sjögren’s syndrome",
        "38 °C",
        "½ tablet",
        "Ångström",
        "√9",
        "œdème",
    ],
)
def test_right_text_is_left_alone(text: str) -> None:
    found = repair_reference(text)
    assert (found.text, found.notes, found.mojibake) == (text, (), False)


def test_a_reference_of_several_lines_becomes_one() -> None:
    found = repair_reference("I feel\n  dizzy. \n")
    assert (found.text, found.notes) == ("I feel dizzy.", ("multi-line",))
    assert repair_reference("I feel dizzy.\n").notes == ()

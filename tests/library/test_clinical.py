"""The clinical view: what is seen of harm, and what alarms nobody, on pairs with their sources."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.pairs import Half, by_class, pairs, share_found
from whisper_retrain.clinical import KINDS, SEVERITY, Names, at_risk, find_harm
from whisper_retrain.clinical.view import clinical_view
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.lexicon import default_lexicon

NAMES = Names(default_lexicon().tiers)
HALVES: tuple[Half, ...] = ("tune", "report")


def test_there_are_enough_pairs_of_every_class() -> None:
    assert sum(len(pairs("harmful", half)) for half in HALVES) >= 400
    assert sum(len(pairs("harmless", half)) for half in HALVES) >= 250
    for half in HALVES:
        assert len({one.kind for one in pairs("harmful", half)}) == 24
        assert len({one.kind for one in pairs("harmless", half)}) == 20


@pytest.mark.parametrize("half", HALVES)
def test_harm_is_seen(half: Half) -> None:
    table = by_class(pairs("harmful", half))
    assert share_found(table) >= 0.95, table
    assert min(seen / count for seen, count in table.values()) >= 0.8, table


@pytest.mark.parametrize("half", HALVES)
def test_what_is_harmless_alarms_nobody(half: Half) -> None:
    table = by_class(pairs("harmless", half))
    assert share_found(table) <= 0.05, table


@pytest.mark.parametrize(
    ("said", "written", "kind", "in_words"),
    [
        (
            "metoprolol 25 mg twice a day",
            "metoprolol 225 mg twice a day",
            "dose",
            "dose of metoprolol: 25 mg became 225 mg",
        ),
        ("the left knee", "the right knee", "laterality", "left knee became right knee"),
        ("give 1.5 mg", "give 1.2 mg", "dose", "dose: 1.5 mg became 1.2 mg"),
        ("no chest pain", "chest pain", "negation", "“no chest” became “chest”"),
        ("take it BID", "take it TID", "frequency", "how often: bid became tid"),
        ("vancomycin PO", "vancomycin IV", "route", "way of vancomycin: po became iv"),
        ("50 mg of it", "50 mcg of it", "unit", "unit: 50 mg became 50 mcg"),
        ("for ten minutes", "for ten seconds", "duration", "time: ten minutes became ten seconds"),
        ("start it", "stop it", "opposite", "start became stop"),
        ("hypoxia", "hyperoxia", "look-alike", "hypoxia became hyperoxia"),
        ("start metformin", "start lisinopril", "drug", "drug: metformin became lisinopril"),
        ("hepatitis B", "hepatitis C", "letter", "letter: b became c"),
        ("platelets < 50", "platelets > 50", "comparison", "comparison: < became >"),
        ("at 8 am", "at 8 pm", "date", "date: am became pm"),
    ],
)
def test_a_finding_is_said_as_a_person_would(
    said: str, written: str, kind: str, in_words: str
) -> None:
    (finding, *_) = find_harm(said, written, NAMES)
    assert (finding.kind, finding.said()) == (kind, in_words)


def test_an_exchange_is_seen_and_a_mere_move_is_not() -> None:
    crossed = find_harm("left knee and right hip", "right knee and left hip", NAMES)
    assert [finding.said() for finding in crossed] == [
        "left knee became right knee",
        "right hip became left hip",
    ]
    moved = find_harm(
        "lisinopril 10 mg and metformin 500 mg", "metformin 500 mg and lisinopril 10 mg", NAMES
    )
    assert {finding.kind for finding in moved} <= {"drug"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-2.5", "minus two point five"),
        ("5 mm", "5 millimetres"),
        ("(see below)", "see below"),
        ("1,000", "one thousand"),
        ("2½", "two and a half"),
        ("120/80", "one twenty over eighty"),
        ("half past seven", "7:30"),
        ("nineteen eighty", "1980"),
        ("5 to 10 mg", "5 mg to 10 mg"),
        ("0.5 g", "500 mg"),
        ("every eight hours", "q8h"),
        ("nontender", "non-tender"),
    ],
)
def test_one_meaning_has_one_view(one: str, other: str) -> None:
    keys = [[token.key for token in clinical_view(text)] for text in (one, other)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    "text", ["", " ", "?!", "<script>", "½½", "12/80 mmHg/", "0" * 5000, "a." * 500]
)
def test_any_text_has_a_view(text: str) -> None:
    assert find_harm(text, text, NAMES) == ()
    find_harm(text, "no pain", NAMES)
    find_harm("no pain", text, NAMES)


def test_what_could_go_wrong_is_told_from_the_reference() -> None:
    assert at_risk("no chest pain on the left", NAMES) >= {"negation", "laterality"}
    assert at_risk("metoprolol 25 mg twice daily", NAMES) >= {"drug", "dose", "unit", "frequency"}
    assert at_risk("hello there", NAMES) == frozenset()


def test_every_kind_has_a_severity() -> None:
    assert SEVERITY.keys() == set(KINDS)


def test_a_language_without_a_view_is_refused() -> None:
    with pytest.raises(InputError, match="no clinical view"):
        find_harm("kein Fieber", "Fieber", NAMES, language="de")


def test_the_view_needs_no_torch() -> None:
    code = "import sys, whisper_retrain.clinical; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def documented(heading: str) -> list[list[str]]:
    """The cells of the table under a heading of docs/clinical.md."""
    page = (Path(__file__).parents[2] / "docs" / "clinical.md").read_text()
    rows = page.split(f"## {heading}")[1].split("##")[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row]


def test_the_pages_examples_are_true() -> None:
    seen, unseen = documented("Ten that are seen"), documented("Five that are not")
    assert (len(seen), len(unseen)) == (10, 5)
    for said, written, told in seen:
        assert "; ".join(one.said() for one in find_harm(said, written, NAMES)) == told
    for said, written, _ in unseen:
        assert find_harm(said, written, NAMES) == ()

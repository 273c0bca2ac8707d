"""Rows survive storage, and probes are what they say."""

from __future__ import annotations

import io
from dataclasses import fields, replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.fixtures.evaluation import make_evaluation
from whisper_retrain.evaluation.probes import (
    NOISES,
    Probe,
    ProbeSource,
    is_loop,
    judge,
    make_probes,
    run_probes,
)
from whisper_retrain.evaluation.rows import (
    COUNTED,
    PLAIN,
    Row,
    rows_digest,
    rows_from_parquet,
    rows_to_parquet,
)
from whisper_retrain.evaluation.transcriber import Transcript
from whisper_retrain.records import Counts, MadeUp, total

TEXTS = [("Take metformin, no pain.", "take met formin pain"), ("", "thank you"), ("pain", "")]


def test_rows_come_back_as_they_were_written() -> None:
    rows = make_evaluation("model", TEXTS, speakers=["ann", None, "ben"]).rows
    data = rows_to_parquet(rows)
    assert rows_from_parquet(data) == list(rows)
    assert rows_digest(rows_from_parquet(data)) == rows_digest(rows)
    table = pq.read_table(io.BytesIO(data))
    assert {"reference", "hypothesis", "words_hits", "drug_deletions"} <= set(table.column_names)


def test_no_rows_are_rows_too() -> None:
    assert rows_from_parquet(rows_to_parquet([])) == []


def test_any_change_changes_the_digest_and_the_order_does_not() -> None:
    rows = make_evaluation("model", TEXTS).rows
    assert rows_digest(rows[::-1]) == rows_digest(rows)
    for change in ({"hypothesis": "x"}, {"speaker": "eve"}, {"words": Counts(hits=1)}):
        assert rows_digest([replace(rows[0], **change), *rows[1:]]) != rows_digest(rows)


def test_a_report_adds_up() -> None:
    made = make_evaluation("model", TEXTS)
    assert made.report.words == total(row.words for row in made.rows)
    assert made.report.tiers["drug"].deletions == 1
    # said: take metformin no pain pain; written: take met formin pain thank you
    assert made.report.length_ratio == pytest.approx(6 / 5)


SPEECH = [
    ProbeSource(np.full(16_000 * seconds, 0.1, dtype=np.float32), "my cough is heavy")
    for seconds in (2, 3)
]


def test_probes_are_the_same_every_time() -> None:
    one, other = make_probes(SPEECH), make_probes(SPEECH)
    assert [p.kind for p in one] == [p.kind for p in other]
    assert all((a.audio == b.audio).all() for a, b in zip(one, other, strict=True))
    assert len(one) >= 100
    assert len({probe.kind for probe in one}) >= 10
    assert len({len(probe.audio) for probe in one}) >= 15
    lengths = {len(p.audio) / 16_000 for p in one if p.kind == "29 to 31 s"}
    assert lengths == {29.0, 30.0, 31.0}
    assert all(np.isfinite(p.audio).all() and p.audio.dtype == np.float32 for p in one)
    assert all(np.abs(p.audio).max() <= 1 for p in one)


def test_most_probes_are_short() -> None:
    """They are many: one that is short is soon heard, and what it brings out is as bad."""
    seconds = sorted(len(probe.audio) / 16_000 for probe in make_probes(SPEECH))
    assert seconds[len(seconds) // 2] <= 5


def test_silence_stands_before_and_after_speech() -> None:
    for kind in ("trailing silence", "leading silence"):
        some = [p for p in make_probes(SPEECH) if p.kind == kind]
        assert [len(p.audio) > 16_000 for p in some] == [True] * 6
        assert all(p.words for p in some)


def test_without_speech_the_others_remain() -> None:
    assert {probe.kind for probe in make_probes([])} == set(NOISES)


@pytest.mark.parametrize(
    ("words", "text", "made_up"),
    [
        (0, "", False),
        (0, "Thank you for watching!", True),
        (0, " you", True),  # what an untouched tiny.en writes on silence
        (4, "my cough is heavy", False),
        (4, "my cough is heavy thank you thank you bye", True),
    ],
)
def test_what_counts_as_made_up(words: int, text: str, made_up: bool) -> None:
    probe = Probe("silence", np.zeros(10, dtype=np.float32), words)
    assert judge(probe, Transcript(text, 1, runaway=False))[0] is made_up


def test_results_are_counted_by_kind() -> None:
    probes = [Probe(kind, np.zeros(10, dtype=np.float32), 0) for kind in ("a", "b", "a")]
    texts = iter(["", "", "thank you very much"])

    def transcribe(batch):
        return [Transcript(next(texts), 1, runaway=False) for _ in batch]

    found = run_probes(probes, transcribe, batch=2)
    assert (found["a"].utterances, found["a"].hallucinated, found["a"].mean_words) == (2, 1, 2.0)
    assert found["b"].hallucinated == 0
    made = MadeUp(probe=2, words=4, loop=False, text="thank you very much")
    assert found["a"].made_up == (made,)


def test_a_loop_is_told_from_words() -> None:
    assert is_loop(Transcript("and then and then and then and then and then", 9, runaway=False))
    assert is_loop(Transcript("thank you", 99, runaway=True))
    assert not is_loop(Transcript("thank you for watching", 4, runaway=False))


def test_every_field_of_a_row_has_its_column() -> None:
    assert {field.name for field in fields(Row)} == {*PLAIN, *COUNTED, "tiers"}

"""`whisper-retrain score`: figures of two files, and what is wrong with a file that has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from whisper_retrain.cli import commands
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.score_files import read_texts, score_files


def written(path: Path, *lines: object, start: bytes = b"") -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_bytes(start + "\n".join(texts).encode())
    return path


def test_the_figures_are_printed_as_json(tmp_path: Path) -> None:
    first, second = {"id": "a", "text": "No chest pain."}, {"id": 2, "text": "Fever."}
    said = written(tmp_path / "refs", first, second)
    heard = written(tmp_path / "hyps", second, {"id": "a", "text": "chest pain"})
    result = CliRunner().invoke(commands, ["score", str(said), str(heard), "--json"])
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert figures["utterances"] == 2
    assert figures["wer"]["rate"] == pytest.approx(1 / 4)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = written(tmp_path / "f", {"id": "a", "text": "Fever."}, start=b"\xef\xbb\xbf")
    assert read_texts(path) == {"a": "Fever."}


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"])
def test_what_unicode_calls_a_line_end_may_stand_in_a_text(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(f'{{"id": "a", "text": "chest{mark}pain"}}\r\n'.encode())
    assert read_texts(path) == {"a": f"chest{mark}pain"}


@pytest.mark.parametrize(
    "line",
    [
        {"id": None, "text": "x"},
        {"id": True, "text": "x"},
        {"id": ["a"], "text": "x"},
        {"id": 1.5, "text": "x"},
        {"text": "x"},
        {"id": "a", "text": None},
        ["a", "x"],
        "[" * 100_000,
        "not json",
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: object) -> None:
    path = written(tmp_path / "f", {"id": "good", "text": "x"}, line)
    with pytest.raises(InputError, match="line 2"):
        read_texts(path)


def test_an_id_that_stands_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "f", *({"id": key, "text": key} for key in "aba"))
    with pytest.raises(InputError, match=r"line 3[\s\S]*'a', which line 1 has too"):
        read_texts(path)


def test_an_empty_file_and_other_ids_are_refused(tmp_path: Path) -> None:
    one = written(tmp_path / "one", {"id": "a", "text": "x"})
    other = written(tmp_path / "other", {"id": "b", "text": "x"})
    with pytest.raises(InputError, match="do not hold the same ids"):
        score_files(one, other)
    with pytest.raises(InputError, match="no utterance"):
        read_texts(written(tmp_path / "empty"))


@pytest.mark.parametrize("blank", ["\t", "\n", " \t ", "\u00a0"])
def test_words_are_words_whatever_blank_stands_between_them(tmp_path: Path, blank: str) -> None:
    said = written(tmp_path / "refs", {"id": "a", "text": f"no{blank}chest pain"})
    heard = written(tmp_path / "hyps", {"id": "a", "text": "no chest\tpain"})
    raw = score_files(said, heard)["raw_wer"]
    assert (raw["reference_length"], raw["rate"]) == (3, 0.0)


def test_what_a_clinician_would_notice_is_told_pair_by_pair(tmp_path: Path) -> None:
    path = written(
        tmp_path / "pairs",
        {"id": "a", "reference": "left knee", "hypothesis": "right knee"},
        {"id": 7, "reference": "can't walk", "hypothesis": "cannot walk"},
    )
    printed = CliRunner().invoke(commands, ["gate", "safety", str(path), "--json"])
    assert [json.loads(line) for line in printed.stdout.splitlines()] == [
        {"id": "a", "findings": [{"kind": "laterality", "expected": "left", "got": "right"}]},
        {"id": "7", "findings": []},
    ]
    said = CliRunner().invoke(commands, ["gate", "safety", str(path)]).stdout
    assert said.splitlines() == [
        "a: left knee became right knee",
        "7: nothing",
        "not for clinical use",
    ]
    bad = written(tmp_path / "bad", {"id": "a", "reference": "left knee"})
    refused = CliRunner().invoke(commands, ["gate", "safety", str(bad)])
    assert isinstance(refused.exception, InputError)
    assert '"hypothesis"' in str(refused.exception)

"""What is found out about a person's own recordings before any audio is decoded."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.recordings import DatasetRepo, corpus, write_folder
from whisper_retrain.config import Columns, DatasetSource
from whisper_retrain.data.listed import (
    Listing,
    guess_columns,
    listed_texts,
    read_listing,
)
from whisper_retrain.data.places import source_at
from whisper_retrain.errors import InputError
from whisper_retrain.local.own_recordings import release_name

SAID = ["I have a bad cough.", "My knee hurts at night.", "The rash is on my left arm."]


def a_folder(folder: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> DatasetSource:
    """A folder with a.wav, b.wav and c.wav, and a listing of any columns."""
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.wav").write_bytes(b"never read here")
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return source_at(str(folder))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["file_name", "transcription"], ("file_name", "transcription", None)),
        (["path", "sentence", "client_id"], ("path", "sentence", "client_id")),
        (["audio_filepath", "text", "Speaker ID"], ("audio_filepath", "text", "Speaker ID")),
        (["my file", "what was said", "who"], ("my file", "what was said", None)),
    ],
    ids=["audiofolder", "Common Voice", "NeMo", "by content"],
)
def test_columns_are_guessed(
    tmp_path: Path, names: list[str], found: tuple[str, str, str | None]
) -> None:
    rows = [[f"{name}.wav", text, "s1"] for name, text in zip("abc", SAID, strict=True)]
    source = a_folder(tmp_path / "own", names, [row[: len(names)] for row in rows])
    columns = guess_columns(read_listing(source), {})
    assert (columns.audio, columns.reference, columns.speaker) == found


def test_an_embedded_recording_is_known_by_its_type(dataset_repo: DatasetRepo) -> None:
    rows = corpus(speakers=2)
    dataset_repo.put("data/train.parquet", rows)
    listing = read_listing(source_at(dataset_repo.name))
    columns = guess_columns(listing, {})
    assert columns == Columns(
        audio="path", reference="sentence", id="id", speaker="speaker_id", prompt="prompt"
    )
    assert [one.reference for one in listed_texts(listing, columns)] == [
        row["sentence"] for row in rows
    ]


def test_what_a_person_says_of_the_columns_goes_before_any_guess() -> None:
    rows = [{"path": f"{n}.wav", "text": "a b", "sentence": "c d", "id": "same"} for n in "ab"]
    listing = Listing("here", ("path", "text", "sentence", "id"), rows, ("path",))
    guessed = guess_columns(listing, {})
    assert (guessed.reference, guessed.id) == ("sentence", None), "an id that is none"
    given = guess_columns(listing, {"reference": "text", "speaker": None})
    assert given.reference == "text"
    with pytest.raises(InputError, match=r"no column 'name'.*path, text.*--speaker-column"):
        guess_columns(listing, {"speaker": "name"})


@pytest.mark.parametrize(
    ("names", "row", "message"),
    [
        (["file_name", "a", "b"], ["a.wav", "one two", "three four"], "a, b may hold it"),
        (["file_name", "label"], ["a.wav", "cough"], "no column holds sentences"),
        (["file_name", "text"], ["wav/a.wav", "one two"], "none of the listed recordings is there"),
        (["where", "text"], ["wav/a.wav", "one two"], "no column holds recordings"),
    ],
)
def test_what_cannot_be_told_is_asked(
    tmp_path: Path, names: list[str], row: list[str], message: str
) -> None:
    source = a_folder(tmp_path / "own", names, [row])
    with pytest.raises(InputError, match=message):
        guess_columns(read_listing(source), {})


def test_only_texts_whose_recording_is_there_count(tmp_path: Path) -> None:
    rows = [["a.wav", SAID[0]], ["gone.wav", SAID[1]], ["../x.wav", SAID[1]], ["b.wav", " "]]
    listing = read_listing(a_folder(tmp_path / "own", ["file_name", "text"], rows))
    texts = listed_texts(listing, guess_columns(listing, {}))
    assert [one.phrase for one in texts] == ["i have a bad cough"]


def test_an_empty_listing_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the listing is empty"):
        read_listing(a_folder(tmp_path / "own", ["file_name", "text"], []))


def test_a_place_is_a_folder_s3_or_a_hub_repo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "own" / "recordings", corpus(speakers=1, phrases=4))
    monkeypatch.chdir(tmp_path)
    found: list[tuple[Any, ...]] = []
    for place in ("own/recordings", "./gone", "s3://b/p", "org/name", "org/name@v1"):
        source = source_at(place)
        found.append((source.kind, source.location, source.ref))
    assert found == [
        ("folder", str(tmp_path / "own" / "recordings"), "main"),
        ("folder", str(tmp_path / "gone"), "main"),
        ("s3", "s3://b/p", "main"),
        ("hub", "org/name", "main"),
        ("hub", "org/name", "v1"),
    ]
    with pytest.raises(InputError, match=r"recordingz.*a folder"):
        source_at("recordingz")


def test_each_place_has_a_release_repo_of_its_own() -> None:
    places = ("./My recordings", "./ward_3.zip", "s3://b/p/", "org/Name", "/")
    assert [release_name(source_at(place)) for place in places] == [
        "demo/whisper-my-recordings",
        "demo/whisper-ward-3",
        "demo/whisper-p",
        "demo/whisper-name",
        "demo/whisper-own",
    ]

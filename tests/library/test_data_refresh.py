"""The refresh stage on a real Hub server and a real S3 server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.recordings import DatasetRepo, corpus, encoded, row, tone, write_folder
from whisper_retrain.config import Columns, DatasetConfig, DatasetSource
from whisper_retrain.data import build
from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.data.refresh import (
    enough_new,
    is_unchanged,
    latest_revision,
    refresh_dataset,
    resolve_sources,
)
from whisper_retrain.data.shards import AudioShards
from whisper_retrain.edges.store import S3Store

COLUMNS = Columns(
    audio="file_name", reference="sentence", id="id", speaker="speaker_id", prompt="prompt"
)


def hub_config(repo: DatasetRepo, **settings: object) -> DatasetConfig:
    source = DatasetSource(location=repo.name, preset="paulmooney")
    return DatasetConfig.model_validate({"sources": (source,), **settings})


def folder_config(folder: Path, **settings: object) -> DatasetConfig:
    source = DatasetSource(kind="folder", location=str(folder), columns=COLUMNS)
    return DatasetConfig.model_validate({"sources": (source,), **settings})


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each recording that is decoded."""
    calls: list[int] = []
    decode = build.decode

    def counted(data: bytes) -> object:
        calls.append(len(data))
        return decode(data)

    monkeypatch.setattr(build, "decode", counted)
    return calls


def test_a_hub_repo_becomes_a_revision_that_can_be_read(
    dataset_repo: DatasetRepo, s3_store: S3Store, tmp_path: Path
) -> None:
    rows = corpus()
    dataset_repo.put("data/train-0.parquet", rows)
    revision = refresh_dataset(hub_config(dataset_repo), s3_store)
    assert revision.seen == len(rows)
    assert revision.taken + sum(revision.dropped.values()) == len(rows)
    assert set(revision.splits) == {"train", "validation", "test"}
    utterances = load_manifest(s3_store, revision, tmp_path)
    audio = AudioShards(s3_store, tmp_path, 2**30)
    for u in utterances:
        number = int(u.id.removeprefix("main/r"))
        assert np.array_equal(audio.audio(u), np.rint(tone(number) * 32_767) / 32_768)
    test = [u for u in utterances if u.split == "test"]
    train = [u for u in utterances if u.split != "test"]
    assert not {u.speaker for u in test} & {u.speaker for u in train}
    assert not {u.phrase for u in test} & {u.phrase for u in train}


def test_unchanged_sources_are_told_without_reading_audio(
    dataset_repo: DatasetRepo, s3_store: S3Store, decodings: list[int]
) -> None:
    dataset_repo.put("data/train-0.parquet", corpus())
    config = hub_config(dataset_repo)
    first = refresh_dataset(config, s3_store)
    decodings.clear()
    assert is_unchanged(latest_revision(s3_store, config), resolve_sources(config), config)
    assert refresh_dataset(config, s3_store) == first
    assert decodings == []


def test_only_new_recordings_are_decoded_and_the_test_set_stays(
    dataset_repo: DatasetRepo, s3_store: S3Store, decodings: list[int]
) -> None:
    config = hub_config(dataset_repo)
    dataset_repo.put("data/train-0.parquet", corpus())
    first = refresh_dataset(config, s3_store)
    decodings.clear()
    drop = [row(5_000 + n, f"n{n}", f"A new phrase {n}.") for n in range(8)]
    dataset_repo.put("data/drop-1.parquet", drop)
    second = refresh_dataset(config, s3_store)
    assert len(decodings) == 8
    assert second.parent == first.digest
    assert second.test_set_digest == first.test_set_digest
    assert set(first.shards) < set(second.shards)
    assert second.new_utterances > 0
    assert enough_new(first, second, config)
    assert not enough_new(second, second, config)


def test_rows_that_move_to_another_file_are_not_decoded_again(
    dataset_repo: DatasetRepo, s3_store: S3Store, decodings: list[int]
) -> None:
    config, rows = hub_config(dataset_repo), corpus()
    dataset_repo.put("data/train-0.parquet", rows)
    first = refresh_dataset(config, s3_store)
    decodings.clear()
    dataset_repo.put(
        "data/train-0.parquet", [*rows[::-1], row(9_000, "s1", "I have something new.")]
    )
    second = refresh_dataset(config, s3_store)
    assert len(decodings) == 1
    assert second.seen == first.seen + 1


def test_one_file_under_two_names_is_one(
    dataset_repo: DatasetRepo, s3_store: S3Store, decodings: list[int]
) -> None:
    config, rows = hub_config(dataset_repo), corpus()
    dataset_repo.put("data/train-0.parquet", rows)
    dataset_repo.put("data/copy-of-train-0.parquet", rows)
    first = refresh_dataset(config, s3_store)
    dataset_repo.put("data/train-1.parquet", [row(9_100, "s1", "I have something else.")])
    second = refresh_dataset(config, s3_store)
    assert (first.seen, second.seen) == (len(rows), len(rows) + 1)
    assert len(decodings) == len(rows) + 1


def test_faulty_recordings_are_quarantined_by_reason(
    dataset_repo: DatasetRepo, s3_store: S3Store, tmp_path: Path
) -> None:
    config = hub_config(dataset_repo)
    dataset_repo.put("data/train-0.parquet", corpus())
    first = refresh_dataset(config, s3_store)
    utterances = load_manifest(s3_store, first, tmp_path)
    of_test = int(next(u for u in utterances if u.split == "test").id.removeprefix("main/r"))
    of_train = int(next(u for u in utterances if u.split == "train").id.removeprefix("main/r"))
    dataset_repo.put(
        "data/drop-1.parquet",
        [
            row(7_001, "x", "This can not be decoded.", b"no audio at all"),
            row(7_002, "x", ""),
            row(7_003, "x", "Forty seconds.", encoded(tone(7_003, 40.0))),
            row(7_004, "x", "Too short.", encoded(tone(7_004, 0.1))),
            row(7_005, "x", "Silence.", encoded(np.zeros(16_000))),
            row(7_006, "x", "Clipped.", encoded(np.clip(tone(7_006) * 40, -1, 1))),
            row(7_007, "y", "Sneaked in.", encoded(tone(of_test))),
            row(7_008, "y", next(u.reference for u in utterances if u.id == f"main/r{of_train}"),
                encoded(tone(of_train))),
        ],
    )  # fmt: skip
    second = refresh_dataset(config, s3_store)
    assert second.quarantined == {
        "clipped": 1,
        "duplicate-audio": 1,
        "empty-reference": 1,
        "silent": 1,
        "test-set-leak": 1,
        "too-long": 1,
        "too-short": 1,
        "undecodable": 1,
    }
    assert second.test_set_digest == first.test_set_digest
    assert second.seen == second.taken + sum(second.dropped.values()) + 8


def test_a_folder_with_a_listing_is_a_source_too(
    s3_store: S3Store, tmp_path: Path, decodings: list[int]
) -> None:
    rows = corpus()
    config = folder_config(write_folder(tmp_path / "in", rows))
    first = refresh_dataset(config, s3_store)
    assert first.seen == len(rows)
    decodings.clear()
    write_folder(tmp_path / "in", [*rows, row(8_000, "s3", "I have come later.")])
    second = refresh_dataset(config, s3_store)
    assert len(decodings) == 1
    assert second.seen == first.seen + 1

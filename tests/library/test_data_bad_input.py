"""What goes wrong in sources: a clear error or a quarantine row, and the last revision stays."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fixtures.recordings import (
    DatasetRepo,
    corpus,
    encoded,
    parquet_bytes,
    row,
    tone,
    write_folder,
)
from tests.fixtures.s3 import S3Server
from tests.library.test_data_refresh import COLUMNS, folder_config, hub_config
from whisper_retrain.config import Columns, DatasetConfig, DatasetSource
from whisper_retrain.data.commit import read_table
from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.data.refresh import (
    build_shard,
    latest_revision,
    plan_refresh,
    refresh_dataset,
    resolve_sources,
)
from whisper_retrain.data.rows import from_parquet
from whisper_retrain.data.trees import OutsideError, S3Tree, inside
from whisper_retrain.data.validation import Quarantined
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import HubError, InputError, StorageError, StorageFullError
from whisper_retrain.records import DatasetRevision


def faults(store: S3Store, revision: DatasetRevision) -> dict[str, Quarantined]:
    rows = from_parquet(store.read(store.key(revision.quarantine.uri)), Quarantined)
    return {q.utterance: q for q in rows}


def listed(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Replace the listing only."""
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file_name", "id", "sentence", "prompt", "speaker_id"])
        writer.writeheader()
        writer.writerows(rows)


def entry(name: str, key: str) -> dict[str, Any]:
    return {
        "file_name": name,
        "id": key,
        "sentence": "I feel ill.",
        "prompt": "p",
        "speaker_id": "x",
    }


class TestListings:
    def test_missing_files_and_paths_out_of_the_folder_are_quarantined(
        self, s3_store: S3Store, tmp_path: Path
    ) -> None:
        secret = tmp_path / "secret.wav"
        secret.write_bytes(encoded(tone(77)))
        folder = write_folder(tmp_path / "in", corpus())
        (folder / "link.wav").symlink_to(secret)
        (folder / "inner.wav").symlink_to(folder / "r0.wav")
        good = list(csv.DictReader((folder / "metadata.csv").open(encoding="utf-8")))
        names = ["gone.wav", "../secret.wav", str(secret), "link.wav", "", "a\0b.wav"]
        listed(folder, [*good, *(entry(n, f"bad{i}") for i, n in enumerate(names))])
        revision = refresh_dataset(folder_config(folder), s3_store)
        found = faults(s3_store, revision)
        assert [found[f"main/bad{i}"].reason for i in range(6)] == [
            "missing-file",
            "outside-folder",
            "outside-folder",
            "missing-file",
            "missing-audio",
            "outside-folder",
        ]
        assert revision.seen == len(good) + 6

    def test_a_file_that_arrives_later_is_taken_up(self, s3_store: S3Store, tmp_path: Path) -> None:
        rows = corpus()
        folder = write_folder(tmp_path / "in", rows)
        absent = folder / "r0.wav"
        data = absent.read_bytes()
        absent.unlink()
        first = refresh_dataset(folder_config(folder), s3_store)
        assert first.quarantined == {"missing-file": 1}
        absent.write_bytes(data)
        assert refresh_dataset(folder_config(folder), s3_store).quarantined == {}

    @pytest.mark.parametrize(
        ("name", "data", "message"),
        [
            ("metadata.csv", "file_name,text\na.wav,Ärztin\n".encode("latin-1"), "not UTF-8"),
            ("metadata.csv", b"file_name,text\na.wav,x\n", "column missing: sentence, id"),
            ("metadata.jsonl", b'{"file_name": "a.wav"\n', "no JSON; at .*line 1"),
            ("metadata.jsonl", b"[1]\n", "no JSON object; at .*line 1"),
            ("metadata.parquet", b"PAR1 cut off", "not a whole parquet file"),
            ("notes.txt", b"", "exactly one listing"),
        ],
    )
    def test_a_wrong_listing_is_named(
        self, s3_store: S3Store, tmp_path: Path, name: str, data: bytes, message: str
    ) -> None:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=message):
            refresh_dataset(folder_config(tmp_path), s3_store)

    def test_values_that_are_no_text_are_quarantined(
        self, s3_store: S3Store, tmp_path: Path
    ) -> None:
        folder = write_folder(tmp_path / "in", corpus())
        rows = list(csv.DictReader((folder / "metadata.csv").open(encoding="utf-8")))
        (folder / "metadata.csv").unlink()
        values: list[dict[str, Any]] = [*rows]
        values[0] = {**rows[0], "sentence": 38.5}
        values[1] = {**rows[1], "sentence": None}
        (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, values)))
        revision = refresh_dataset(folder_config(folder), s3_store)
        assert revision.quarantined == {"reference-not-text": 2}

    def test_a_parquet_listing_is_read_too(self, s3_store: S3Store, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "in", corpus())
        rows = list(csv.DictReader((folder / "metadata.csv").open(encoding="utf-8")))
        (folder / "metadata.csv").unlink()
        pq.write_table(pa.Table.from_pylist(rows), folder / "metadata.parquet")
        assert refresh_dataset(folder_config(folder), s3_store).seen == len(rows)

    def test_a_folder_that_is_not_there(self, s3_store: S3Store, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such folder"):
            refresh_dataset(folder_config(tmp_path / "nowhere"), s3_store)

    def test_a_folder_that_changes_while_it_is_read(
        self, s3_store: S3Store, tmp_path: Path
    ) -> None:
        config = folder_config(write_folder(tmp_path / "in", corpus()))
        sources = resolve_sources(config)
        write_folder(tmp_path / "in", [*corpus(), row(900, "s1", "Late.")])
        with pytest.raises(InputError, match="changed while it was being read"):
            plan_refresh(config, sources, s3_store, None)

    def test_a_recording_that_is_replaced_after_the_plan_is_not_taken_for_the_planned_one(
        self, s3_store: S3Store, tmp_path: Path
    ) -> None:
        folder = write_folder(tmp_path / "in", corpus())
        config = folder_config(folder)
        plan = plan_refresh(config, resolve_sources(config), s3_store, None)
        (folder / "r0.wav").write_bytes(encoded(tone(999, 2.0)))
        record = build_shard(plan.jobs[0], s3_store)
        replaced = next(r for r in read_table(s3_store, record.rows) if r.id == "r0")
        assert replaced.failure == "changed-file: not the file that the refresh began with"


class TestArchives:
    def pack_zip(self, folder: Path, target: Path, extra: str | None = None) -> Path:
        with zipfile.ZipFile(target, "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, path.name)
            if extra:
                archive.writestr(extra, b"x")
        return target

    def pack_tar(self, folder: Path, target: Path, extra: str | None = None) -> Path:
        with tarfile.open(target, "w:gz") as archive:
            for path in sorted(folder.iterdir()):
                archive.add(path, path.name)
            if extra:
                archive.addfile(tarfile.TarInfo(extra), io.BytesIO(b""))
            link = tarfile.TarInfo("link.wav")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        return target

    @pytest.mark.parametrize("kind", ["zip", "tar.gz"])
    def test_an_archive_is_a_source(self, s3_store: S3Store, tmp_path: Path, kind: str) -> None:
        folder = write_folder(tmp_path / "in", corpus())
        pack = self.pack_zip if kind == "zip" else self.pack_tar
        archive = pack(folder, tmp_path / f"drop.{kind}")
        assert refresh_dataset(folder_config(archive), s3_store).seen == len(corpus())

    @pytest.mark.parametrize("kind", ["zip", "tar.gz"])
    @pytest.mark.parametrize("extra", ["../evil.wav", "/etc/evil.wav", "a/../../evil.wav"])
    def test_a_path_out_of_the_archive_is_refused(
        self, s3_store: S3Store, tmp_path: Path, kind: str, extra: str
    ) -> None:
        folder = write_folder(tmp_path / "in", corpus(3, 4))
        pack = self.pack_zip if kind == "zip" else self.pack_tar
        archive = pack(folder, tmp_path / f"drop.{kind}", extra)
        with pytest.raises(InputError, match="leads out of it"):
            refresh_dataset(folder_config(archive), s3_store)
        assert not (tmp_path / "evil.wav").exists()

    @pytest.mark.parametrize("kind", ["zip", "tar.gz"])
    def test_a_cut_off_archive_is_named(self, s3_store: S3Store, tmp_path: Path, kind: str) -> None:
        folder = write_folder(tmp_path / "in", corpus(3, 4))
        pack = self.pack_zip if kind == "zip" else self.pack_tar
        archive = pack(folder, tmp_path / f"drop.{kind}")
        archive.write_bytes(archive.read_bytes()[:5_000])
        with pytest.raises(InputError, match="not a whole archive"):
            refresh_dataset(folder_config(archive), s3_store)


@pytest.mark.parametrize("path", ["../a", "/a", "a/../../b", "C:/a", "..\\a", "a\0"])
def test_paths_that_lead_out_are_never_inside(path: str) -> None:
    with pytest.raises(OutsideError):
        inside(path)


class TestHub:
    def test_names_that_are_not_there(self, dataset_repo: DatasetRepo, s3_store: S3Store) -> None:
        dataset_repo.put("data/a.parquet", corpus())
        nowhere = DatasetConfig(sources=(DatasetSource(location="demo/no-such-repo"),))
        with pytest.raises(InputError, match="no such repo on the Hub"):
            resolve_sources(nowhere)
        source = DatasetSource(location=dataset_repo.name, ref="no-such-branch")
        with pytest.raises(InputError, match="no such revision"):
            resolve_sources(DatasetConfig(sources=(source,)))

    def test_a_wrong_token_is_told_from_a_missing_repo(
        self, dataset_repo: DatasetRepo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        with pytest.raises(InputError, match="HF_TOKEN"):
            resolve_sources(hub_config(dataset_repo))

    def test_a_hub_that_is_down_is_worth_a_retry(
        self, dataset_repo: DatasetRepo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(HubError, match="could not be reached"):
            resolve_sources(hub_config(dataset_repo))

    def test_a_column_that_is_missing_or_of_the_wrong_type(
        self, dataset_repo: DatasetRepo, s3_store: S3Store
    ) -> None:
        dataset_repo.put("data/a.parquet", corpus())
        cases = [
            (Columns(audio="path", reference="text"), "column missing: text.*got id, sentence"),
            (Columns(audio="sentence", reference="sentence"), "'sentence' has the wrong type"),
            (Columns(audio="path", reference="path"), "'path' has the wrong type"),
        ]
        for columns, message in cases:
            source = DatasetSource(location=dataset_repo.name, columns=columns)
            with pytest.raises(InputError, match=message):
                refresh_dataset(DatasetConfig(sources=(source,)), s3_store)

    def test_a_truncated_parquet_file_leaves_the_last_revision_usable(
        self, dataset_repo: DatasetRepo, s3_store: S3Store
    ) -> None:
        config = hub_config(dataset_repo)
        dataset_repo.put("data/a.parquet", corpus())
        first = refresh_dataset(config, s3_store)
        dataset_repo.put("data/b.parquet", parquet_bytes(corpus(4, 8, 500))[:3_000])
        with pytest.raises(InputError, match=r"not a whole parquet file; at .*data/b\.parquet"):
            refresh_dataset(config, s3_store)
        assert latest_revision(s3_store, config) == first

    def test_a_repo_without_parquet_files(
        self, dataset_repo: DatasetRepo, s3_store: S3Store
    ) -> None:
        dataset_repo.hub.api().upload_file(
            path_or_fileobj=b"x", path_in_repo="a.txt", repo_id=dataset_repo.name,
            repo_type="dataset",
        )  # fmt: skip
        with pytest.raises(InputError, match="no parquet files"):
            refresh_dataset(hub_config(dataset_repo), s3_store)

    def test_a_ref_that_moves_while_it_is_read_changes_nothing(
        self, dataset_repo: DatasetRepo, s3_store: S3Store
    ) -> None:
        config = hub_config(dataset_repo)
        resolved = dataset_repo.put("data/a.parquet", corpus())
        sources = resolve_sources(config)
        assert sources[0].revision == resolved
        dataset_repo.put("data/a.parquet", corpus(4, 8, 700))
        plan = plan_refresh(config, sources, s3_store, None)
        record = build_shard(plan.jobs[0], s3_store)
        ids = {r.id for r in read_table(s3_store, record.rows)}
        assert ids <= {r["id"] for r in corpus()}

    def test_no_utterance_in_a_split_is_an_error_that_says_why(
        self, dataset_repo: DatasetRepo, s3_store: S3Store
    ) -> None:
        one_speaker = [row(n, "s1", f"Phrase {n}.") for n in range(12)]
        dataset_repo.put("data/a.parquet", one_speaker)
        with pytest.raises(InputError, match=r"empty split: .*test.*leakage-by-test-phrase"):
            refresh_dataset(hub_config(dataset_repo), s3_store)
        assert latest_revision(s3_store, hub_config(dataset_repo)) is None

    def test_rows_without_embedded_audio_are_quarantined(
        self, dataset_repo: DatasetRepo, s3_store: S3Store
    ) -> None:
        dataset_repo.put("data/a.parquet", [*corpus(), row(900, "s1", "No audio.", b"")])
        revision = refresh_dataset(hub_config(dataset_repo), s3_store)
        assert revision.quarantined == {"missing-audio": 1}


class FailingPages:
    """A client whose listing breaks off after the first page."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get_paginator(self, name: str) -> FailingPages:
        self._paginator = self._client.get_paginator(name)
        return self

    def paginate(self, **where: Any) -> Iterator[Any]:
        from botocore.exceptions import ConnectionClosedError

        yield next(iter(self._paginator.paginate(**where, PaginationConfig={"PageSize": 5})))
        raise ConnectionClosedError(endpoint_url="http://127.0.0.1")


def upload(store: S3Store, folder: Path, prefix: str) -> str:
    for path in folder.iterdir():
        store.upload(f"{prefix}/{path.name}", path)
    return store.uri(prefix)


def s3_config(location: str) -> DatasetConfig:
    return DatasetConfig(sources=(DatasetSource(kind="s3", location=location, columns=COLUMNS),))


class TestS3:
    def test_a_prefix_with_a_listing_is_a_source(
        self, s3_environment: S3Server, s3_store: S3Store, tmp_path: Path
    ) -> None:
        rows = corpus()
        folder = write_folder(tmp_path / "in", rows)
        config = s3_config(upload(s3_store, folder, "incoming"))
        first = refresh_dataset(config, s3_store)
        assert first.seen == len(rows)
        write_folder(folder, [*rows, row(901, "s2", "One more.")])
        upload(s3_store, folder, "incoming")
        plan = plan_refresh(config, resolve_sources(config), s3_store, first)
        assert (plan.reused_rows, sum(job.rows for job in plan.jobs)) == (len(rows), 1)

    def test_a_listing_of_objects_that_breaks_off_is_never_taken_for_whole(
        self, s3_server: S3Server, s3_store: S3Store, tmp_path: Path
    ) -> None:
        location = upload(s3_store, write_folder(tmp_path / "in", corpus()), "incoming")
        tree = S3Tree(location, FailingPages(s3_server.client()))
        with pytest.raises(StorageError, match="could not be reached"):
            tree.stamps()

    def test_a_bucket_that_is_not_there(self, s3_environment: S3Server, s3_store: S3Store) -> None:
        with pytest.raises(InputError, match="bucket does not exist"):
            refresh_dataset(s3_config("s3://no-such-bucket/in"), s3_store)


@pytest.mark.slow
def test_a_full_s3_server_is_named_and_the_last_revision_stays(
    small_s3_server: S3Server, tmp_path: Path
) -> None:
    store = small_s3_server.store()
    folder = tmp_path / "in"
    config = folder_config(write_folder(folder, corpus()))
    first = refresh_dataset(config, store)
    noise = np.random.default_rng(1)
    sounds = [encoded(noise.uniform(-0.5, 0.5, 400_000)) for _ in range(80)]
    long = [row(2_000 + n, "s1", f"Long sound {n}.", sound) for n, sound in enumerate(sounds)]
    write_folder(folder, [*corpus(), *long])
    with pytest.raises((StorageFullError, StorageError)):
        refresh_dataset(config, store)
    assert latest_revision(store, config) == first
    assert load_manifest(store, first, tmp_path)


def test_two_sources_may_not_have_one_name() -> None:
    source = DatasetSource(location="demo/data")
    with pytest.raises(ValueError, match="must differ"):
        DatasetConfig(sources=(source, source))

"""Revisions of a dataset: incremental, restartable, one for two refreshes at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.recordings import DatasetRepo, corpus, encoded, row, tone, write_folder
from tests.fixtures.s3 import S3Server
from tests.library.test_data_refresh import COLUMNS, folder_config, hub_config
from whisper_retrain.config import DatasetConfig, DatasetSource
from whisper_retrain.data import build
from whisper_retrain.data.commit import commit_revision
from whisper_retrain.data.latest import pointer_key
from whisper_retrain.data.manifest import Utterance, load_manifest
from whisper_retrain.data.refresh import (
    RefreshPlan,
    build_shard,
    enough_new,
    is_unchanged,
    latest_revision,
    plan_refresh,
    refresh_dataset,
    resolve_sources,
)
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import StorageError
from whisper_retrain.records import Artifact, DatasetRevision


def plan_of(config: DatasetConfig, store: S3Store) -> RefreshPlan:
    return plan_refresh(config, resolve_sources(config), store, latest_revision(store, config))


def utterances(store: S3Store, revision: DatasetRevision, cache: Path) -> dict[str, Utterance]:
    return {u.id: u for u in load_manifest(store, revision, cache)}


class DyingStore(S3Store):
    """A store whose n-th write is never answered, as if the process were killed there."""

    def __init__(self, store: S3Store, client: Any, survive: int) -> None:
        super().__init__(store.location, client)
        self._left = survive

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise StorageError("killed here")

    def write(self, key: str, data: bytes, content_type: str = "x/y") -> Artifact:
        self._count()
        return super().write(key, data, content_type)

    def upload(self, key: str, path: Path, content_type: str = "x/y") -> Artifact:
        self._count()
        return super().upload(key, path, content_type)

    def swap(self, key: str, data: bytes, version: str | None) -> str:
        self._count()
        return super().swap(key, data, version)


@pytest.mark.parametrize("survive", range(10))
def test_a_refresh_that_was_cut_off_at_any_write_is_taken_up_where_it_stopped(
    s3_server: S3Server, s3_store: S3Store, tmp_path: Path, survive: int
) -> None:
    folder = write_folder(tmp_path / "in", corpus())
    config = folder_config(folder)
    dying = DyingStore(s3_store, s3_server.client(), survive)
    try:
        refresh_dataset(config, dying)
    except StorageError:
        assert latest_revision(s3_store, config) is None
    finished = refresh_dataset(config, s3_store)
    assert latest_revision(s3_store, config) == finished
    undisturbed = refresh_dataset(config, s3_server.store())
    assert finished.manifest_digest == undisturbed.manifest_digest


def test_finished_shards_are_not_built_again(
    s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = folder_config(write_folder(tmp_path / "in", corpus()))
    plan = plan_of(config, s3_store)
    first = [build_shard(job, s3_store) for job in plan.jobs]
    monkeypatch.setattr(build, "decode", lambda data: pytest.fail("decoded again"))
    again = plan_of(config, s3_store)
    assert again == plan
    assert [build_shard(job, s3_store) for job in again.jobs] == first


def test_two_refreshes_at_once_end_in_one_revision(s3_store: S3Store, tmp_path: Path) -> None:
    config = folder_config(write_folder(tmp_path / "in", corpus()))
    start = threading.Barrier(4)

    def refresh(_: int) -> DatasetRevision:
        start.wait()
        return refresh_dataset(config, s3_store)

    with ThreadPoolExecutor(4) as pool:
        revisions = list(pool.map(refresh, range(4)))
    assert len({r.digest for r in revisions}) == 1
    assert latest_revision(s3_store, config) == revisions[0]
    assert len([k for k in s3_store.keys("") if k.endswith("/record.json")]) == 2


def test_a_refresh_overtaken_by_a_newer_one_goes_on_from_it(
    s3_store: S3Store, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    config = folder_config(write_folder(folder, corpus()))
    slow = plan_of(config, s3_store)
    records = [build_shard(job, s3_store) for job in slow.jobs]
    write_folder(folder, [*corpus(), row(910, "s1", "I have come.")])
    fast = refresh_dataset(config, s3_store)
    late = commit_revision(slow, records, s3_store)
    assert late.parent == fast.digest
    assert late.test_set_digest == fast.test_set_digest


def test_a_commit_that_is_retried_gives_the_same_revision(
    s3_store: S3Store, tmp_path: Path
) -> None:
    config = folder_config(write_folder(tmp_path / "in", corpus()))
    plan = plan_of(config, s3_store)
    records = [build_shard(job, s3_store) for job in plan.jobs]
    first = commit_revision(plan, records, s3_store)
    assert commit_revision(plan, records, s3_store) == first
    s3_store.delete(pointer_key(config))  # as if killed between record and pointer
    assert commit_revision(plan, records, s3_store) == first
    assert latest_revision(s3_store, config) == first


def test_the_same_speech_gives_the_same_manifest_whatever_it_came_in(
    s3_server: S3Server, tmp_path: Path
) -> None:
    """Another order of rows, other shards and another machine's store: one manifest digest."""
    forward = folder_config(write_folder(tmp_path / "a", corpus()))
    backward = folder_config(write_folder(tmp_path / "b", corpus()[::-1]))
    one = refresh_dataset(forward, s3_server.store())
    other = refresh_dataset(backward, s3_server.store())
    assert one.manifest_digest == other.manifest_digest
    assert one.test_set_digest == other.test_set_digest


def test_a_second_source_keeps_the_test_set_of_the_first(
    dataset_repo: DatasetRepo, s3_store: S3Store, tmp_path: Path
) -> None:
    dataset_repo.put("data/a.parquet", corpus())
    alone = hub_config(dataset_repo)
    first = refresh_dataset(alone, s3_store)
    folder = write_folder(tmp_path / "in", corpus(8, 12, first=2_000))
    clinic = DatasetSource(name="clinic", kind="folder", location=str(folder), columns=COLUMNS)
    both = DatasetConfig(sources=(*alone.sources, clinic))
    second = refresh_dataset(both, s3_store)
    assert second.parent == first.digest
    assert second.test_set_digest == first.test_set_digest
    assert second.seen == first.seen + len(corpus(8, 12))
    assert refresh_dataset(both, s3_store) == second


def test_a_changed_reference_needs_no_decoding(
    s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = corpus()
    folder = write_folder(tmp_path / "in", rows)
    config = folder_config(folder)
    first = utterances(s3_store, refresh_dataset(config, s3_store), tmp_path)
    changed = next(u.id for u in first.values() if u.split == "train").removeprefix("main/")
    changes = {changed: "Quite another sentence."}
    write_folder(folder, [{**r, "sentence": changes.get(r["id"], r["sentence"])} for r in rows])
    monkeypatch.setattr(build, "decode", lambda data: pytest.fail("decoded again"))
    second = refresh_dataset(config, s3_store)
    assert second.new_utterances <= 1


def test_settings_of_validation_take_effect_without_decoding(
    s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(
        tmp_path / "in", [*corpus(), row(920, "s1", "Short it is.", encoded(tone(920, 0.6)))]
    )
    config = folder_config(folder)
    assert refresh_dataset(config, s3_store).quarantined == {}
    monkeypatch.setattr(build, "decode", lambda data: pytest.fail("decoded again"))
    stricter = folder_config(folder, bounds={"min_duration_s": 0.8})
    assert refresh_dataset(stricter, s3_store).quarantined == {"too-short": 1}


def test_an_unchanged_source_is_not_read_even_by_name(
    s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = folder_config(write_folder(tmp_path / "in", corpus()))
    first = refresh_dataset(config, s3_store)
    reads: list[str] = []
    read = Path.read_bytes

    def watched(path: Path) -> bytes:
        reads.append(path.name)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", watched)
    assert is_unchanged(first, resolve_sources(config), config)
    assert refresh_dataset(config, s3_store) == first
    assert not [name for name in reads if name.endswith(".wav")]


@pytest.mark.parametrize(
    ("utterances", "hours", "enough"),
    [
        (1, 0.0, True),
        (5, 0.0, True),
        (6, 0.0, False),
        (6, 0.001, True),
        (6, 1.0, False),
        (0, 0, True),
    ],
)
def test_enough_new_is_counted_since_the_revision_last_trained_on(
    s3_store: S3Store, tmp_path: Path, utterances: int, hours: float, enough: bool
) -> None:
    """Two drops of 2 and 3 utterances of 1 s: neither is 5, together they are."""
    limits = {"min_new_utterances": utterances, "min_new_hours": hours}
    splits = {"disjoint": "none", "test_set": "grow"}
    folder = tmp_path / "in"
    rows = corpus()
    config = folder_config(write_folder(folder, rows), splits=splits, **limits)
    trained_on = refresh_dataset(config, s3_store)
    latest = trained_on
    for first, count in ((930, 2), (940, 3)):
        rows = [*rows, *(row(first + n, "s1", f"New {first + n}.") for n in range(count))]
        write_folder(folder, rows)
        latest = refresh_dataset(config, s3_store)
    assert latest.utterances_ever - trained_on.utterances_ever == 5
    assert enough_new(trained_on, latest, config) is enough
    assert enough_new(None, latest, config)


class TestReview:
    def review(self, path: Path, *lines: str) -> str:
        path.write_text("\n".join(("utterance,action,reference", *lines)), encoding="utf-8")
        return str(path)

    def test_a_review_lies_over_the_sources(
        self, s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quiet = row(950, "s1", "Quietly said.", encoded(tone(950) / 3_000))
        folder = write_folder(tmp_path / "in", [*corpus(), quiet])
        plain = folder_config(folder, splits={"disjoint": "phrase"})
        first = refresh_dataset(plain, s3_store)
        assert first.quarantined == {"silent": 1}
        monkeypatch.setattr(build, "decode", lambda data: pytest.fail("decoded again"))
        file = tmp_path / "review.csv"
        train = [u.id for u in load_manifest(s3_store, first, tmp_path) if u.split == "train"]
        self.review(file, "main/r950,keep,", f"{train[0]},exclude,", f"{train[1]},correct,Said so.")
        reviewed = plain.model_copy(update={"review": str(file)})
        second = refresh_dataset(reviewed, s3_store)
        assert second.quarantined == {"excluded-by-review": 1}
        after = utterances(s3_store, second, tmp_path)
        assert "main/r950" in after or "test-set-is-frozen" in second.dropped
        assert train[1] not in after or after[train[1]].reference == "Said so."
        assert refresh_dataset(reviewed, s3_store) == second
        self.review(file, "main/r950,keep,")
        third = refresh_dataset(reviewed, s3_store)
        assert third.sources[-1].name == "review"
        assert third.sources[-1].revision != second.sources[-1].revision

    def test_a_wrong_review_stops_the_refresh_before_any_work(
        self, s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(build, "decode", lambda data: pytest.fail("decoded"))
        folder = write_folder(tmp_path / "in", corpus())
        file = self.review(tmp_path / "review.csv", "main/r1,perhaps,")
        with pytest.raises(Exception, match="makes no sense"):
            refresh_dataset(folder_config(folder, review=file), s3_store)


def test_progress_is_told(s3_store: S3Store, tmp_path: Path) -> None:
    lines: list[str] = []
    tell: Callable[[str], None] = lines.append
    config = folder_config(write_folder(tmp_path / "in", corpus(12, 40)))
    refresh_dataset(config, s3_store, tell)
    assert lines == ["main: 100 of 120 recordings"]

"""The diff of two revisions, and the reports on one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.recordings import corpus, encoded, row, tone, write_folder
from tests.library.test_data_refresh import folder_config
from whisper_retrain.data.diff import diff_revisions
from whisper_retrain.data.manifest import Utterance
from whisper_retrain.data.refresh import refresh_dataset
from whisper_retrain.data.report import dataset_table, write_dataset_report
from whisper_retrain.edges.store import S3Store


def utterance(number: int, **more: object) -> Utterance:
    plain = Utterance(
        id=f"main/{number}", source="main", reference="I feel ill.", speaker="s1", prompt="p",
        phrase="i feel ill", split="train", duration_s=2.0 + number % 5 / 10, num_samples=32_000,
        audio_sha256=f"{number:064x}", sampling_rate_hz=16_000, level_dbfs=-20.0 - number % 3,
        shard="0" * 64, row=number,
    )  # fmt: skip
    return replace(plain, **more)


def test_what_is_new_changed_removed_and_moved_is_counted() -> None:
    before = [utterance(n) for n in range(6)]
    after = [
        *before[:3],
        utterance(3, reference="I feel well."),
        utterance(4, split="validation"),
        utterance(10, speaker="s2", phrase="i took metformin", duration_s=3.6),
        utterance(11, phrase="metformin helped", duration_s=3.6),
    ]
    found = diff_revisions(before, after)
    assert (found.new, found.changed, found.removed, found.moved) == (2, 1, 1, 1)
    assert found.new_hours == pytest.approx(0.002)
    assert found.new_speakers == ("s2",)
    assert found.new_words == ("metformin", "helped", "took")


def test_equal_revisions_do_not_differ() -> None:
    rows = [utterance(n) for n in range(6)]
    found = diff_revisions(rows, rows[::-1])
    assert (found.new, found.changed, found.removed, found.moved) == (0, 0, 0, 0)
    assert found.drift == {}


def test_drift_is_cohens_d() -> None:
    """Means 2 and 4, both variances 2: d = 2 / sqrt(2)."""
    before = [utterance(n, duration_s=s) for n, s in enumerate((1.0, 3.0))]
    new = [utterance(10 + n, duration_s=s) for n, s in enumerate((3.0, 5.0))]
    drift = diff_revisions(before, [*before, *new]).drift["duration_s"]
    assert (drift.before, drift.new, drift.effect) == (2.0, 4.0, 1.414)
    assert drift.noteworthy
    alike = [utterance(20 + n, duration_s=s) for n, s in enumerate((1.0, 3.2))]
    assert not diff_revisions(before, [*before, *alike]).drift["duration_s"].noteworthy


def test_the_reports_of_a_revision(s3_store: S3Store, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    config = folder_config(write_folder(folder, corpus()))
    refresh_dataset(config, s3_store)
    drop = [
        row(960, "s1", "A <script>alert(1)</script> of words."),
        row(961, "s1", "Broken.", b"no audio"),
        row(962, "<b>s99</b>", "Louder.", encoded(tone(962))),
        row(963, "s1", "Twin.", encoded(tone(962))),
    ]
    write_folder(folder, [*corpus(), *drop])
    revision = refresh_dataset(config, s3_store)

    table = dataset_table(revision)
    assert {r["part"] for r in table} >= {
        "train",
        "validation",
        "test",
        "new",
        "quarantined",
        "seen",
    }
    by_part = {r["part"]: r for r in table}
    assert by_part["seen"]["utterances"] == revision.seen
    assert (
        by_part["test"]["note"]
        == f"{revision.splits['test'].utterances} unseen-speaker unseen-phrase"
    )

    artifact = write_dataset_report(s3_store, revision, tmp_path)
    html = s3_store.read(s3_store.key(artifact.uri)).decode()
    assert "undecodable" in html
    assert "conflicting-references" in html
    assert "Not for clinical use" in html
    # Self-contained, and nothing that a source says is taken for markup.
    assert not re.search(r"<script|<link|<img|src=|https?://", html)
    assert "<b>s99" not in html
    assert write_dataset_report(s3_store, revision, tmp_path) == artifact

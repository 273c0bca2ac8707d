"""The demo corpus: real recordings, the same every time, in the columns of the real dataset."""

import io
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.fixtures.corpus import FIRST_DROP
from tests.fixtures.hub import HubServer
from whisper_retrain.local.demo.corpus import make_corpus, make_everyday_corpus
from whisper_retrain.local.demo.plan import FAULTY_DROP_2, everyday_readings, readings
from whisper_retrain.local.demo.publication import publish_corpus
from whisper_retrain.local.demo.speakers import SPEAKERS, TEST_SPEAKERS, TRAIN_SPEAKERS
from whisper_retrain.local.demo.synthesis import synthesise

SOUND_EVERY = 9
"""Of drop 2's sound recordings, which are made as those of drop 1 are, one is made in so many."""


def _quiet(done: int, total: int) -> None:
    assert 0 < done <= total


def _rows(directory: Path) -> list[dict[str, Any]]:
    return ds.dataset(directory).to_table().to_pylist()


@pytest.fixture(scope="module")
def everyday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_everyday_corpus(tmp_path_factory.mktemp("demo"), _quiet)


def test_the_same_texts_give_the_same_bytes_and_every_recording_is_reported() -> None:
    texts = {TEST_SPEAKERS[0].id: ["It burns.", "It still burns."], TEST_SPEAKERS[4].id: ["No."]}
    calls: list[tuple[int, int]] = []
    first = synthesise(texts, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert synthesise(texts, _quiet) == first
    assert set(first) == {(id_, text) for id_, lines in texts.items() for text in lines}


@pytest.mark.slow
def test_piper_too_gives_the_same_bytes_every_time() -> None:
    texts = {TRAIN_SPEAKERS[0].id: ["It burns.", "It burns."]}
    assert synthesise(texts, _quiet) == synthesise(texts, _quiet)


def test_a_speaker_who_fails_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"speaker 5 left 1 of 1 texts unread.*exit code 1"):
        synthesise({5: ["Nobody has this number."]}, _quiet)


def test_recordings_have_the_speakers_native_rate_and_a_plausible_length(everyday: Path) -> None:
    rows = {row["id"]: row for row in _rows(everyday)}
    assert set(rows) == {reading.id for reading in everyday_readings()}
    for row in rows.values():
        sound, rate = soundfile.read(io.BytesIO(row["path"]["bytes"]))
        assert rate == SPEAKERS[row["speaker_id"]].rate_hz
        assert sound.ndim == 1
        assert 1.5 < len(sound) / rate < 6
        assert 0.5 < abs(sound).max() < 0.9, "loud, and not clipped"


def test_the_columns_are_those_of_the_real_dataset(everyday: Path) -> None:
    """As `datasets` would have written them, without the codec that it needs to do so."""
    from datasets import Audio, Features, Value

    text = Value("string")
    features = Features(
        {
            "id": text,
            "sentence": text,
            "prompt": text,
            "speaker_id": Value("int64"),
            "path": Audio(),
        }
    )
    for file in everyday.iterdir():
        schema = pq.read_schema(file)
        assert schema.equals(features.arrow_schema)
        assert Features.from_arrow_schema(schema) == features


def test_what_is_made_is_not_made_again(everyday: Path) -> None:
    calls: list[tuple[int, int]] = []
    assert make_everyday_corpus(everyday.parent, lambda *call: calls.append(call)) == everyday
    assert calls == []
    assert [path.name for path in everyday.parent.iterdir()] == [everyday.name]


def test_a_drop_is_published_once_and_read_back_by_datasets(
    everyday: Path, hub_server: HubServer, tmp_path: Path
) -> None:
    from datasets import Audio, load_dataset

    repo_id = hub_server.new_name()
    revision = publish_corpus(hub_server.endpoint, hub_server.token, repo_id, everyday)
    again = publish_corpus(hub_server.endpoint, hub_server.token, repo_id, everyday)
    commits = hub_server.api().list_repo_commits(repo_id, repo_type="dataset", revision=revision)
    assert again == revision == commits[0].commit_id
    card = hub_server.api().hf_hub_download(
        repo_id, "README.md", repo_type="dataset", revision=revision, cache_dir=tmp_path
    )
    assert "Not for clinical use" in Path(card).read_text()
    snapshot = hub_server.api().snapshot_download(
        repo_id, repo_type="dataset", revision=revision, cache_dir=tmp_path
    )
    loaded = load_dataset(snapshot, cache_dir=str(tmp_path / "datasets"))
    assert {feature: str(kind)[:5] for feature, kind in loaded["test"].features.items()} == {
        "id": "Value",
        "sentence": "Value",
        "prompt": "Value",
        "speaker_id": "Value",
        "path": "Audio",
    }
    rows = [
        row for split in loaded.values() for row in split.cast_column("path", Audio(decode=False))
    ]
    key = lambda row: row["id"]  # noqa: E731
    assert sorted(rows, key=key) == sorted(_rows(everyday), key=key)


@pytest.fixture(scope="module")
def drops(first_drop: Path) -> dict[int, dict[str, dict[str, Any]]]:
    """A third of drop 1; of drop 2 the faulty recordings and every ninth of the others."""
    faulty = [reading for reading in readings(2) if reading.id in FAULTY_DROP_2]
    sound = [reading for reading in readings(2) if reading.id not in FAULTY_DROP_2]
    plan = (*faulty, *sound[::SOUND_EVERY])
    second = make_corpus(first_drop.parent, 2, _quiet, plan, originals=first_drop)
    return {
        drop: {row["id"]: row for row in _rows(folder)}
        for drop, folder in enumerate((first_drop, second), start=1)
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_faulty_recordings_are_as_faulty_as_the_manifest_says(
    drops: dict[int, dict[str, dict[str, Any]]],
) -> None:
    sources = {reading.id: reading.copied for reading in readings(2)}
    for id_, fault in FAULTY_DROP_2.items():
        row = drops[2][id_]
        audio = io.BytesIO(row["path"]["bytes"])
        if fault == "undecodable":
            with pytest.raises(soundfile.LibsndfileError):
                soundfile.read(audio)
        elif fault == "empty-reference":
            assert row["sentence"].strip() == ""
        elif fault == "too-long":
            assert soundfile.info(audio).duration > 40
        else:
            assert row["path"]["bytes"] == drops[1][sources[id_]]["path"]["bytes"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_other_recordings_are_sound_and_no_two_are_alike(
    drops: dict[int, dict[str, dict[str, Any]]],
) -> None:
    good = [
        row for rows in drops.values() for row in rows.values() if row["id"] not in FAULTY_DROP_2
    ]
    assert len(good) == len(FIRST_DROP) + 463 // SOUND_EVERY + 1
    assert len({row["path"]["bytes"] for row in good}) == len(good)
    durations = [soundfile.info(io.BytesIO(row["path"]["bytes"])).duration for row in good]
    assert min(durations) > 1
    assert max(durations) < 12
    assert 3 < sum(durations) / len(durations) < 5

"""A real model's doubts on real speech: made from the validation split once, found in S3 after."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.fixtures.app import crown
from tests.fixtures.champions import a_history
from tests.fixtures.evidence import REVISION, a_checkpoint
from tests.fixtures.hub import HubServer
from tests.fixtures.recordings import row, write_folder
from tests.fixtures.s3 import S3Server
from whisper_retrain.app.calibration import in_words
from whisper_retrain.app.calibrations import Calibrations
from whisper_retrain.app.models import Load, Models, Release
from whisper_retrain.app.transcription import ModelAt
from whisper_retrain.config import (
    Columns,
    DatasetConfig,
    DatasetSource,
    DecodingConfig,
    SplitPolicy,
)
from whisper_retrain.data.refresh import refresh_dataset
from whisper_retrain.edges.hub import HubClient
from whisper_retrain.edges.store import S3Store
from whisper_retrain.evaluation.transcriber import Transcriber
from whisper_retrain.evaluation.transformers_runtime import load_transcriber
from whisper_retrain.local.demo.base_model import convert_base_model
from whisper_retrain.local.demo.recording import record
from whisper_retrain.local.demo.speakers import TRAIN_SPEAKERS
from whisper_retrain.records import DatasetRevision, ModelRef

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("s3_environment")]

SENTENCES = (
    "I have a sharp pain in my left shoulder.",
    "She takes amoxicillin for her bronchitis.",
    "My cough is worse in the morning.",
    "The swelling of the ankle went down.",
    "He was given metformin for his diabetes.",
    "There is blood in my urine since Monday.",
    "Her asthma gets worse in the cold.",
    "I feel dizzy when I stand up.",
)
SPEAKERS = TRAIN_SPEAKERS[2:5]
FEW_WORDS = 10


def spoken(store: S3Store, folder: Path) -> DatasetRevision:
    """Every speaker says every sentence; half of the sentences not held out are validation."""
    rows = [
        row(100 * i + n, f"s{i}", sentence, audio)
        for i, speaker in enumerate(SPEAKERS)
        for n, (sentence, audio) in enumerate(
            zip(SENTENCES, record(speaker, list(SENTENCES)), strict=True)
        )
    ]
    names = Columns(audio="file_name", id="id", speaker="speaker_id")
    write_folder(folder, rows)
    source = DatasetSource(kind="folder", location=str(folder), columns=names)
    splits = SplitPolicy(disjoint="phrase", validation_share=0.49)
    return refresh_dataset(DatasetConfig(sources=(source,), splits=splits), store)


def never(_: Path) -> Transcriber:
    raise AssertionError("it is loaded again")


def test_made_once_from_real_rows_and_not_at_all_from_too_few(
    hub_server: HubServer, s3_environment: S3Server, tmp_path: Path
) -> None:
    store, hub = s3_environment.store(), HubClient(hub_server.endpoint, hub_server.token)
    repo, mine = hub_server.new_name(), hub_server.new_name()
    base = ModelRef(name="base", model_digest="ba5e" * 16, repo=repo, revision=REVISION)
    checkpoints = a_checkpoint(store, b"first"), a_checkpoint(store, b"second")
    a_history(hub, store, repo, base, checkpoints, spoken(store, tmp_path / "recordings"))
    model = ModelAt(mine, crown(hub, mine, convert_base_model(tmp_path / "tiny.en")))
    decoding = DecodingConfig()

    def calibrations(load: Load, **changes: int) -> Calibrations:
        models, release = Models(hub, tmp_path / "models", load), Release(hub, store, repo)
        return Calibrations(store, hub, release, models, decoding, tmp_path, **changes)

    assert calibrations(never).find_or_make(model) is None, "24 sentences have no 2,000 words"
    load = partial(load_transcriber, decoding=decoding)
    made = calibrations(load, least_words=FEW_WORDS).find_or_make(model)
    assert made is not None
    assert made.words >= FEW_WORDS
    assert 0 < made.marked + made.unmarked < made.words
    assert 0 <= made.error < 1
    assert "in a hundred" in in_words(made) or "no guide" in in_words(made)
    assert calibrations(never, least_words=FEW_WORDS).find_or_make(model) == made

"""What is published must load and transcribe from its own files alone, in a process of its own."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
import soundfile

from tests.fixtures.evidence import some_evidence, some_scores
from tests.fixtures.hub import HubServer
from whisper_retrain.config import ReleaseConfig
from whisper_retrain.edges.clock import SystemClock
from whisper_retrain.edges.hub import HubClient
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import PermanentError
from whisper_retrain.local.demo.base_model import convert_base_model
from whisper_retrain.local.demo.engines import Piper
from whisper_retrain.model_files import model_digest, upload_checkpoint
from whisper_retrain.release.promotion import promote
from whisper_retrain.release.transaction import Edges
from whisper_retrain.release.verify import transcribe_in_child

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_base_model(tmp_path_factory.mktemp("base") / "whisper-tiny.en")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FLAC file at the voice's own rate, as recordings come."""
    voice = Piper(length_scale=1.0, noise_scale=0.667, seed=1)
    path = tmp_path_factory.mktemp("audio") / "recording.flac"
    soundfile.write(path, voice.read("I need three pillows to breathe at night."), voice.rate_hz)
    return path


def test_a_whisper_model_writes_down_what_was_said(model: Path, recording: Path) -> None:
    assert "pillows to breathe at night" in transcribe_in_child(model, recording)


def test_a_real_model_is_promoted_and_then_served_by_its_tag(
    model: Path, recording: Path, hub_server: HubServer, s3_store: S3Store, tmp_path: Path
) -> None:
    checkpoint = upload_checkpoint(s3_store, "checkpoint", model)
    evidence, config = some_evidence(checkpoint), ReleaseConfig(repo=hub_server.new_name())
    edges = Edges(HubClient(hub_server.endpoint, hub_server.token), s3_store, SystemClock())
    probe = partial(transcribe_in_child, audio=recording)
    done = promote(evidence, some_scores(evidence), probe, config, edges)
    assert edges.hub.tags(config.repo)["champion"] == done.revision
    served = edges.hub.download(config.repo, done.revision, tmp_path / "served")
    assert model_digest(served) == checkpoint.model_digest


def test_without_a_recording_it_is_seen_whether_the_model_loads(model: Path) -> None:
    assert isinstance(transcribe_in_child(model), str)


def test_a_model_without_its_tokenizer_is_refused(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(model, broken, ignore=shutil.ignore_patterns("*token*", "vocab*", "merges*"))
    with pytest.raises(PermanentError, match="does not load and transcribe"):
        transcribe_in_child(broken)


def test_cut_weights_are_refused(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(PermanentError, match="does not load and transcribe"):
        transcribe_in_child(broken)

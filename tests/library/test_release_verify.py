"""What is published must do for its users what the gate judged, from its own files alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors import SafetensorError

from tests.fixtures.evidence import some_evidence
from tests.fixtures.hub import HubServer
from whisper_retrain.config import DecodingConfig, ReleaseConfig
from whisper_retrain.edges.clock import SystemClock
from whisper_retrain.edges.hub import HubClient
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import PermanentError
from whisper_retrain.evaluation.transcriber import Transcript
from whisper_retrain.evaluation.transformers_runtime import load_transcriber
from whisper_retrain.local.demo.base_model import convert_base_model
from whisper_retrain.local.demo.engines import Piper
from whisper_retrain.model_files import model_digest, upload_checkpoint
from whisper_retrain.release import verify
from whisper_retrain.release.promotion import promote
from whisper_retrain.release.transaction import Edges
from whisper_retrain.release.verify import (
    JudgedText,
    Trial,
    load_in_child,
    read_mono,
    verify_in_child,
)
from whisper_retrain.training.checkpoint import write_checkpoint
from whisper_retrain.training.model import load_model, mend_generation_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DICTATION_S = 40
SENTENCES = (
    "I need three pillows to breathe at night.",
    "My left knee is swollen and stiff in the morning.",
    "The patient denies chest pain and shortness of breath.",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_base_model(tmp_path_factory.mktemp("base") / "whisper-tiny.en")


@pytest.fixture(scope="module")
def model(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as training leaves it: the gate's decoding is in its generation_config."""
    loaded = load_model(base)
    mend_generation_config(loaded, DecodingConfig())
    return write_checkpoint(loaded, base, tmp_path_factory.mktemp("model") / "checkpoint")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """FLAC files at the voice's own rate, as recordings come."""
    folder = tmp_path_factory.mktemp("audio")
    voice = Piper(length_scale=1.0, noise_scale=0.667, seed=1)
    for number, text in enumerate(SENTENCES):
        soundfile.write(folder / f"{number}.flac", voice.read(text), voice.rate_hz)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def dictation(recordings: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings over and over, for more than one window of Whisper's."""
    pause = np.zeros(8_000, np.float32)
    once = np.concatenate([part for path in recordings for part in (read_mono(path), pause)])
    path = tmp_path_factory.mktemp("dictation") / "dictation.wav"
    soundfile.write(path, np.resize(once, DICTATION_S * 16_000), 16_000)
    return path


def judged(model: Path, paths: Sequence[Path], decoding: DecodingConfig) -> tuple[JudgedText, ...]:
    """The recordings with the texts that the gate's Transcriber gives, in one batch."""
    heard = load_transcriber(model, decoding, "cpu").transcribe([read_mono(p) for p in paths])
    return tuple(
        JudgedText(id=path.stem, audio=str(path), text=one.text)
        for path, one in zip(paths, heard, strict=True)
    )


@pytest.fixture(scope="module")
def trial(model: Path, recordings: list[Path], dictation: Path) -> Trial:
    decoding = DecodingConfig()
    return Trial(
        decoding=decoding,
        utterances=judged(model, recordings, decoding),
        dictation=str(dictation),
    )


LOADING = Trial(decoding=DecodingConfig(), utterances=(), dictation=None)
"""Whether it loads and hears a second of silence."""


def tried_here(trial: Trial, model: Path) -> list[str]:
    """What the child does, in this process, where torch is loaded already: the outcomes."""
    return list(verify._tried(trial, str(model), None)["outcomes"].values())


def test_the_plain_pipeline_writes_what_the_gate_judged_and_reads_a_dictation(
    model: Path, trial: Trial
) -> None:
    assert "pillows to breathe at night" in trial.utterances[0].text
    found = verify_in_child(trial, str(model))
    assert found.utterances == 3
    assert found.same + found.alone == 3
    assert found.dictation_s == DICTATION_S


def test_users_decode_as_the_gate_does(base: Path, model: Path) -> None:
    before, after = (
        json.loads((folder / "generation_config.json").read_text()) for folder in (base, model)
    )
    assert "num_beams" not in before
    assert after["num_beams"] == 1
    for config in (before, after):
        assert "return_timestamps" not in config


def test_a_text_that_only_batches_explain_is_counted(model: Path, trial: Trial) -> None:
    # As if the gate's batch had given another text than the Transcriber gives alone.
    first, *others = trial.utterances
    batched = first.model_copy(update={"text": "I need tree pillows to breathe at night."})
    changes = {"utterances": (batched, *others), "dictation": None}
    found = tried_here(trial.model_copy(update=changes), model)
    assert found[0] == "alone"
    assert {*found} <= {"same", "alone"}


@pytest.mark.parametrize(
    ("alone", "outcome"),
    [
        (Transcript("two pillows", 3, runaway=False), "alone"),
        (Transcript("two", 1, runaway=True), "bounded"),
        (Transcript("two", 1, runaway=False), "other"),
        (Transcript("no pillows", 3, runaway=True), "other"),
    ],
)
def test_only_batches_precision_and_the_bound_explain_another_text(
    recordings: list[Path], alone: Transcript, outcome: str
) -> None:
    class Alone:
        def transcribe(self, audios: Sequence[object]) -> list[Transcript]:
            return [alone for _ in audios]

    judged_otherwise = JudgedText(id="u", audio=str(recordings[0]), text="three pillows")
    assert verify._explained(Alone(), judged_otherwise, "two pillows") == outcome


def test_more_text_than_the_bound_allows_is_counted_as_such(
    model: Path, recordings: list[Path]
) -> None:
    tight = DecodingConfig(max_tokens_per_s=0.01)
    trial = Trial(decoding=tight, utterances=judged(model, recordings[1:2], tight), dictation=None)
    assert tried_here(trial, model) == ["bounded"]


DICTATED = Trial(
    decoding=DecodingConfig(),
    utterances=(),
    dictation="dictation.flac",
    dictated="I need three pillows to breathe at night and my left knee hurts when it rains",
    dictated_wer=0.0,
    dictation_margin=0.1,
)


@pytest.mark.parametrize(
    "text",
    [
        DICTATED.dictated,
        DICTATED.dictated.replace("three", "tree"),  # one word of sixteen
    ],
)
def test_a_dictation_heard_as_well_as_its_utterances_is_let_through(text: str) -> None:
    verify.check_dictation(DICTATED, text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "came back empty"),
        (
            "I need tree pillars to breathe at night and my left knee hurts when it rains",
            "WER of 12",
        ),
        ("I need three pillows to breathe at night", "WER of 50"),
    ],
)
def test_a_dictation_heard_worse_stops_the_release(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        verify.check_dictation(DICTATED, text)
    assert "pillow" not in str(caught.value)  # no text is shown


def test_a_lost_sentence_stops_the_release_whatever_the_rate() -> None:
    generous = DICTATED.model_copy(update={"dictation_margin": 1.0})
    with pytest.raises(ValueError, match="8 words in a row of the dictation are missing"):
        verify.check_dictation(generous, "I need three pillows to breathe at night")


def test_without_a_margin_a_text_is_enough() -> None:
    verify.check_dictation(DICTATED.model_copy(update={"dictation_margin": None}), "anything")


def test_a_file_that_forbids_timestamps_fails_on_a_dictation(
    model: Path, trial: Trial, tmp_path: Path
) -> None:
    broken = shutil.copytree(model, tmp_path / "broken")
    config = json.loads((broken / "generation_config.json").read_text())
    (broken / "generation_config.json").write_text(
        json.dumps(config | {"return_timestamps": False})
    )
    with pytest.raises(PermanentError, match="does not load and transcribe as its card says"):
        verify_in_child(trial, str(broken))


def test_a_real_model_is_promoted_and_then_served_by_its_tag(
    model: Path,
    trial: Trial,
    hub_server: HubServer,
    s3_store: S3Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub_server.endpoint)
    monkeypatch.setenv("HF_TOKEN", hub_server.token)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    checkpoint = upload_checkpoint(s3_store, "checkpoint", model)
    evidence, config = some_evidence(checkpoint), ReleaseConfig(repo=hub_server.new_name())
    edges = Edges(HubClient(hub_server.endpoint, hub_server.token), s3_store, SystemClock())
    done = promote(evidence, partial(verify_in_child, trial), config, edges)
    assert edges.hub.tags(config.repo)["champion"] == done.revision
    served = edges.hub.download(config.repo, done.revision, tmp_path / "served")
    assert model_digest(served) == checkpoint.model_digest
    card = (served / "README.md").read_text()
    assert "of 3 test utterances" in card
    assert f"{DICTATION_S} s of stitched test speech" in card


def test_without_recordings_it_is_seen_whether_the_model_loads(model: Path) -> None:
    load_in_child(model)


def test_a_model_without_its_tokenizer_is_refused(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(model, broken, ignore=shutil.ignore_patterns("*token*", "vocab*", "merges*"))
    with pytest.raises(ValueError, match="tokenizer knows"):
        tried_here(LOADING, broken)


def test_cut_weights_are_refused(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(SafetensorError):
        tried_here(LOADING, broken)

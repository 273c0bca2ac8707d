"""A training from base model to record, on real S3, with a tiny model; resume and faults."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fixtures.training import QUICK, Spoken, hear, job_of, spoken, write_tiny_model
from whisper_retrain.config import TrainingConfig
from whisper_retrain.edges.store import S3Store, read_record
from whisper_retrain.errors import (
    DivergedError,
    InputError,
    InterruptedTrainingError,
    StorageError,
)
from whisper_retrain.model_files import download_checkpoint
from whisper_retrain.records import ModelRef, TrainingRun
from whisper_retrain.training import optimization as optimization_module
from whisper_retrain.training.devices import Device
from whisper_retrain.training.fine_tuning import Surroundings, train
from whisper_retrain.training.job import TrainingJob, WarmStart
from whisper_retrain.training.progress import Progress, Reporter
from whisper_retrain.training.speech import TrainingSpeech

SPEECH = TrainingSpeech(spoken(40, seed=1), spoken(8, seed=2), hear)


class Rig:
    """A machine to train on: its own work directory and a store that it shares with others."""

    def __init__(self, store: S3Store, base: Path, folder: Path) -> None:
        self.store, self.base, self.folder = store, base, folder
        self.news: list[Progress] = []

    def job(self, **changes: Any) -> TrainingJob:
        config = TrainingConfig(**{**QUICK.model_dump(), **changes})
        return job_of(self.store, self.folder / "data", self.base, config, train=1, validation=1)

    def train(
        self,
        job: TrainingJob,
        machine: str = "here",
        speech: TrainingSpeech = SPEECH,
        stopping: Callable[[], bool] = bool,
        store: Any = None,
        patience_s: float = 0.1,
    ) -> TrainingRun:
        torch.set_num_threads(1)
        with Reporter(self.news.append) as reporter:
            run = train(
                job,
                Surroundings(
                    speech=speech,
                    store=store or self.store,
                    base_model_dir=self.base,
                    work_dir=self.folder / machine,
                    device=Device("float32", force_cpu=True),
                    reporter=reporter,
                    stopping=stopping,
                    store_patience_s=patience_s,
                ),
            )
        assert run is not None
        return run

    def after_steps(self, steps: int) -> Callable[[], bool]:
        """Told to stop once so many steps are done."""
        return lambda: any(p.step >= steps for p in self.news)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def rig(s3_store: S3Store, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr("whisper_retrain.training.loop.NEWS_INTERVAL_S", 0.0)
    return Rig(s3_store, base, tmp_path)


def test_a_run_ends_in_a_record_that_says_what_came_of_what(rig: Rig) -> None:
    job = rig.job(validate_base=True)
    run = rig.train(job)
    assert run.dataset_digest == job.dataset.digest
    assert run.base_model == job.base_model
    assert run.config_digest == job.config.digest
    assert (run.steps, run.seed, run.stopped_early) == (6, 1, False)
    assert [p.step for p in run.curve if p.validation_wer is not None] == [0, 3, 6]
    assert [p.step for p in run.curve if p.loss is not None] == [1, 2, 3, 4, 5, 6]
    assert run.audio_s_per_s > 0
    assert run.peak_memory_bytes > 2**26
    assert run.compute_share is not None
    assert 0 < run.compute_share < 1
    assert read_record(rig.store, job.record_key, TrainingRun) == run


def test_a_warm_start_goes_on_from_the_champion_at_a_third_of_the_rate(rig: Rig) -> None:
    cold = rig.job()
    champion = ModelRef(name="champion", model_digest="0ca4" * 16, repo="a/b", revision="ab" * 20)
    warm = cold.model_copy(update={"start": WarmStart(champion=champion)})
    assert warm.digest != cold.digest
    run = rig.train(warm)
    assert (run.started_from, run.base_model) == (champion, cold.base_model)
    rates = [[p.learning_rate for p in one.curve if p.loss] for one in (run, rig.train(cold))]
    assert rates[0] == pytest.approx([rate / 3 for rate in rates[1] if rate])


def test_the_data_that_a_champion_knew_are_part_of_a_warm_start(rig: Rig) -> None:
    job, champion = rig.job(), ModelRef(name="champion", model_digest="0ca4" * 16)
    starts = [WarmStart(champion=champion), WarmStart(champion=champion, dataset=job.dataset)]
    assert len({job.model_copy(update={"start": one}).digest for one in starts}) == 2
    elsewhere = champion.model_copy(update={"name": "x", "repo": "a/b", "revision": "ab" * 20})
    moved = job.model_copy(update={"start": WarmStart(champion=elsewhere)})
    assert moved.digest == job.model_copy(update={"start": starts[0]}).digest


def test_nothing_of_this_machine_is_in_the_record(rig: Rig) -> None:
    assert str(rig.folder) not in rig.train(rig.job()).model_dump_json()


def test_the_checkpoint_needs_none_of_our_code(rig: Rig) -> None:
    run = rig.train(rig.job())
    folder = download_checkpoint(rig.store, run.checkpoint, rig.folder / "downloaded")
    script = f"""
import sys, warnings, numpy as np
from transformers import WhisperForConditionalGeneration, WhisperProcessor
model = WhisperForConditionalGeneration.from_pretrained({str(folder)!r})
processor = WhisperProcessor.from_pretrained({str(folder)!r})
assert model.config.max_source_positions == 1500
assert getattr(model.generation_config, "forced_decoder_ids", None) is None
features = processor(np.zeros(16000, "float32"), sampling_rate=16000, return_tensors="pt")
print(len(processor.batch_decode(model.generate(**features, max_new_tokens=5))))
assert not any(name.startswith("whisper_retrain") for name in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, text=True
    )
    assert done.stdout.strip() == "1", done.stderr


def test_training_lowers_the_loss(rig: Rig) -> None:
    run = rig.train(rig.job(max_steps=60, eval_share=1, warmup_share=0.1))
    losses = [p.loss for p in run.curve if p.loss is not None]
    assert losses[-1] < 0.8 * losses[0]


def test_the_step_with_the_best_wer_is_kept_whatever_comes_after(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    wers = iter([0.5, 0.2, 0.4])
    monkeypatch.setattr(
        "whisper_retrain.training.validation.word_error_rate", lambda *_: next(wers)
    )
    run = rig.train(rig.job(eval_share=1 / 3))
    assert (run.best_step, run.validation_wer, run.steps) == (4, 0.2, 6)
    from safetensors.torch import load_file

    handed_on = load_file(rig.folder / "here" / "checkpoint" / "model.safetensors")
    kept = load_file(rig.folder / "here" / "kept" / "00000004.safetensors")
    assert kept.keys() == handed_on.keys()
    assert all(torch.equal(handed_on[name], value) for name, value in kept.items())


def test_patience_ends_a_training_early(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    wers = iter([0.2, 0.3, 0.3, 0.1])
    monkeypatch.setattr(
        "whisper_retrain.training.validation.word_error_rate", lambda *_: next(wers)
    )
    run = rig.train(rig.job(eval_share=0.1, max_steps=20, patience=2))
    assert (run.steps, run.best_step, run.stopped_early) == (6, 2, True)


def weights(rig: Rig, run: TrainingRun) -> str:
    return run.checkpoint.files["model.safetensors"].sha256


def losses(run: TrainingRun) -> list[tuple[int, float]]:
    return [(p.step, p.loss) for p in run.curve if p.loss is not None]


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_stopped_training_resumes_elsewhere_to_the_same_bits(
    rig: Rig, lora_rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"spec_augment": True, "speed_augment": 0.1, "noise_augment_share": 0.5}
    job = rig.job(lora_rank=lora_rank, max_steps=8, eval_share=0.4, **changes)
    with pytest.raises(InterruptedTrainingError, match="step 4 of 8"):
        rig.train(job, "first", stopping=rig.after_steps(4))
    rig.news.clear()
    resumed = rig.train(job, "second")
    assert resumed.resumed_from_steps == (4,)
    other = Rig(rig.store, rig.base, rig.folder / "other")
    uninterrupted = other.train(
        other.job(lora_rank=lora_rank, max_steps=8, eval_share=0.4, **changes)
    )
    assert losses(resumed) == losses(uninterrupted)
    assert weights(rig, resumed) == weights(rig, uninterrupted)
    assert resumed.best_step == uninterrupted.best_step


def test_states_are_forgotten_once_there_is_a_record(rig: Rig) -> None:
    job = rig.job(state_interval_s=0.01)
    rig.train(job)
    assert not list(rig.store.keys(f"{job.prefix}/state/"))
    assert not (rig.folder / "here" / "state").exists()


def stopped(rig: Rig, job: TrainingJob, *steps: int) -> None:
    """Train and be stopped at each of these steps, on machines that then are gone."""
    for step in steps:
        with pytest.raises(InterruptedTrainingError):
            rig.train(job, f"machine-{step}", stopping=rig.after_steps(step))


@pytest.mark.parametrize("damage", ["truncated", "gone"])
def test_a_damaged_state_is_passed_over_for_the_one_before(
    rig: Rig, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = rig.job()
    stopped(rig, job, 2, 4)
    key = f"{job.prefix}/state/00000004/tensors.pt"
    if damage == "truncated":
        rig.store.write(key, rig.store.read(key)[:-100])
    else:
        rig.store.delete(key)
    run = rig.train(job, "another")
    assert run.resumed_from_steps == (2,)
    assert "passed over the training state of step 4" in caplog.text


def test_a_state_without_manifest_was_half_written_and_is_not_read(rig: Rig) -> None:
    job = rig.job()
    stopped(rig, job, 2)
    rig.store.delete(f"{job.prefix}/state/00000002.json")
    assert rig.train(job, "another").resumed_from_steps == ()


def test_a_damaged_state_in_the_work_directory_is_not_read_either(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    job = rig.job()
    stopped(rig, job, 2)
    local = rig.folder / "machine-2" / "state" / "00000002" / "tensors.pt"
    local.write_bytes(local.read_bytes()[:-100])
    for key in list(rig.store.keys(f"{job.prefix}/state/")):
        rig.store.delete(key)
    assert rig.train(job, "machine-2").resumed_from_steps == ()
    assert "not whole" in caplog.text


def test_a_state_of_another_job_is_never_loaded(rig: Rig) -> None:
    stopped(rig, rig.job(), 2)
    assert rig.train(rig.job(seed=2), "machine-2").resumed_from_steps == ()


class Failing:
    """A store whose writes under some prefix fail, as while S3 is down or full."""

    def __init__(self, store: S3Store, part: str) -> None:
        self._store, self._part, self.failed = store, part, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def upload(self, key: str, *rest: Any) -> Any:
        if self._part in key:
            self.failed += 1
            raise StorageError("S3 failed", where=key, got="503 SlowDown")
        return self._store.upload(key, *rest)


def test_training_goes_on_while_states_cannot_be_stored(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    down = Failing(rig.store, "/state/")
    run = rig.train(rig.job(state_interval_s=0.01), store=down)
    assert run.steps == 6
    assert down.failed
    assert "not in S3 yet" in caplog.text


def test_training_goes_on_when_the_disk_is_full(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("whisper_retrain.training.state.torch.save", full)
    assert rig.train(rig.job(state_interval_s=0.01)).steps == 6
    assert "training state was not saved, training goes on" in caplog.text


def test_a_finished_training_fails_rather_than_lose_its_checkpoint(rig: Rig) -> None:
    job = rig.job()
    with pytest.raises(StorageError):
        rig.train(job, store=Failing(rig.store, "/checkpoint/"))
    assert read_record(rig.store, job.record_key, TrainingRun) is None


def test_divergence_says_where_and_keeps_the_best(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = optimization_module.Optimization._accumulate

    def poisoned(self: Any, prepared: Any, *rest: Any) -> Any:
        sums = real(self, prepared, *rest)
        return [float("nan"), *sums[1:]] if prepared.plan.step == 4 else sums

    monkeypatch.setattr(optimization_module.Optimization, "_accumulate", poisoned)
    job = rig.job()
    with pytest.raises(DivergedError, match=r"step 5; best checkpoint \(step 3\) kept at s3://"):
        rig.train(job)
    assert rig.store.exists(f"{job.prefix}/diverged/model.safetensors")


def test_unusable_utterances_are_counted_and_an_empty_split_refused(rig: Rig) -> None:
    empty = Spoken("empty", "", 1.0)
    speech = TrainingSpeech([*SPEECH.train, empty], SPEECH.validation, hear)
    assert rig.train(rig.job(), speech=speech).dropped == {"no label ids": 1}
    with pytest.raises(InputError, match="train split"):
        rig.train(rig.job(seed=3), speech=TrainingSpeech([empty], SPEECH.validation, hear))


@pytest.mark.parametrize(
    ("average", "averages_wer", "taken"), [("last", 0.3, (4, 6)), ("best", 0.31, ())]
)
def test_averaged_weights_are_taken_only_if_their_wer_is_no_worse(
    rig: Rig,
    average: str,
    averages_wer: float,
    taken: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wers = iter([0.5, 0.4, 0.3, averages_wer])
    monkeypatch.setattr(
        "whisper_retrain.training.validation.word_error_rate", lambda *_: next(wers)
    )
    run = rig.train(rig.job(eval_share=1 / 3, average=average, average_count=2))
    assert run.averaged_steps == taken
    assert run.validation_wer == 0.3


def test_a_share_of_the_base_model_is_validated_as_it_is_handed_on(rig: Rig) -> None:
    pure = rig.train(rig.job())
    mixed = rig.train(rig.job(base_share=0.5), "mixed")
    assert weights(rig, mixed) != weights(rig, pure)
    assert any("mixture with 50 %" in p.message for p in rig.news)


def test_validation_never_sees_more_than_it_is_allowed(rig: Rig) -> None:
    rig.train(rig.job(max_validation_utterances=3))
    assert {p.of for p in rig.news if p.phase == "validating" and p.of} == {3}


def test_figures_are_stored_with_the_record(rig: Rig) -> None:
    run = rig.train(rig.job())
    assert set(run.figures) == {"learning", "resources"}
    for artifact in run.figures.values():
        assert rig.store.read(rig.store.key(artifact.uri)).startswith(b"<?xml")


def test_a_digest_leaves_out_how_the_work_is_done(rig: Rig) -> None:
    job = rig.job()
    changes = {"processes": 2, "threads": 3, "deadline_s": 61, "micro_batch_audio_s": 7.0}
    same = job.model_copy(update={"config": job.config.model_copy(update=changes)})
    other = job.model_copy(update={"config": job.config.model_copy(update={"seed": 9})})
    assert same.digest == job.digest != other.digest


def test_news_name_every_phase(rig: Rig) -> None:
    logging.getLogger("whisper_retrain").setLevel(logging.INFO)
    rig.train(rig.job(validate_base=True))
    assert list(dict.fromkeys(n.phase for n in rig.news)) == [
        "starting", "loading", "validating", "training", "saving", "done",
    ]  # fmt: skip

"""Training as a process of its own: what reaches the parent, and what outlives a kill."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fixtures.s3 import S3Server
from tests.fixtures.training import QUICK, job_of, write_tiny_model
from whisper_retrain import errors
from whisper_retrain.config import TrainingConfig
from whisper_retrain.edges.store import S3Store
from whisper_retrain.records import TrainingRun
from whisper_retrain.training.exit_codes import EXIT_CODES, error_of, exit_code, leave_error
from whisper_retrain.training.job import Tracking, TrainingJob
from whisper_retrain.training.launch import run_training
from whisper_retrain.training.progress import Progress, Reporter, parse


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base"))


class Launcher:
    """Runs jobs on the session's S3 as a flow run would."""

    def __init__(self, store: S3Store, base: Path, folder: Path) -> None:
        self.store, self.base, self.folder = store, base, folder
        self.news: list[Progress] = []

    def job(self, **changes: Any) -> TrainingJob:
        config = TrainingConfig(**{**QUICK.model_dump(), **changes})
        return job_of(self.store, self.folder / "data", self.base, config)

    def run(
        self,
        job: TrainingJob,
        machine: str = "work",
        listen: Callable[[Progress], None] | None = None,
    ) -> TrainingRun:
        def on_progress(progress: Progress) -> None:
            self.news.append(progress)
            if listen:
                listen(progress)

        return run_training(job, self.store.location, self.base, self.folder / machine, on_progress)


@pytest.fixture
def launcher(
    s3_store: S3Store,
    s3_environment: S3Server,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Launcher:
    monkeypatch.setenv("WHISPER_RETRAIN_CACHE_DIR", str(tmp_path / "cache"))
    return Launcher(s3_store, base, tmp_path)


def children() -> list[psutil.Process]:
    """Training processes of this test run that are alive."""
    found = []
    for process in psutil.Process().children(recursive=True):
        # A killed one whose last news are still being read is a zombie, or gone.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "whisper_retrain.training" in " ".join(process.cmdline()):
                found.append(process)
    return found


class CancelledError(BaseException):
    """Like Prefect's TerminationSignal: no Exception."""


def cancel_at(step: int) -> Callable[[Progress], None]:
    def listen(progress: Progress) -> None:
        if progress.step >= step:
            raise CancelledError

    return listen


def test_the_parent_hears_of_every_phase_and_gets_the_record(launcher: Launcher) -> None:
    job = launcher.job()
    run = launcher.run(job)
    phases = list(dict.fromkeys(p.phase for p in launcher.news))
    assert phases == ["starting", "loading", "training", "validating", "saving", "done"]
    assert run.steps == 6
    assert launcher.news[-1].wer == run.validation_wer
    assert launcher.run(job, "elsewhere") == run, "a job with a record is not trained again"


def test_a_cancelled_flow_run_leaves_a_state_and_no_orphan(launcher: Launcher) -> None:
    job = launcher.job(max_steps=3000, eval_share=1)
    with pytest.raises(CancelledError):
        launcher.run(job, listen=cancel_at(1))
    assert children() == []
    states = [k for k in launcher.store.keys(f"{job.prefix}/state/") if k.endswith(".json")]
    assert any(key.count("/") == 4 for key in states)


def test_an_input_error_of_the_child_is_the_parents(launcher: Launcher) -> None:
    (launcher.folder / "bert").mkdir()
    (launcher.folder / "bert" / "config.json").write_text('{"model_type": "bert"}')
    launcher.base = launcher.folder / "bert"
    job = job_of(
        launcher.store, launcher.folder / "d", write_tiny_model(launcher.folder / "t"), QUICK
    )
    with pytest.raises(errors.InputError, match="no Whisper") as caught:
        launcher.run(job)
    assert caught.value.remedy


@pytest.mark.slow
def test_the_wandb_project_is_that_of_the_settings(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WHISPER_RETRAIN_WANDB_PROJECT", "clinic-speech")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb"))
    job = launcher.job().model_copy(update={"tracking": Tracking(mode="auto")})
    run = launcher.run(job)
    file = launcher.store.read(launcher.store.key(run.figures["tracking"].uri))
    assert b"clinic-speech" in file


@pytest.mark.slow
def test_a_deadline_ends_training_with_its_state_saved(launcher: Launcher) -> None:
    endless = {"max_steps": 100_000, "eval_share": 1, "state_interval_s": 1.0}
    with pytest.raises(errors.PermanentError, match=r"deadline.*at most 20 s"):
        launcher.run(launcher.job(**endless, deadline_s=20))
    assert children() == []
    states = [key for key in launcher.store.keys("train/") if "/state" in key]
    assert states  # where a rerun with a later deadline goes on


@pytest.mark.slow
def test_kill_9_at_any_moment_and_a_rerun_elsewhere_end_with_the_same_bits(
    launcher: Launcher,
) -> None:
    changes = {"max_steps": 40, "eval_share": 0.25, "batch_size": 8, "state_interval_s": 0.05}
    wanted = launcher.run(launcher.job(**changes), "uninterrupted")
    # Another dataset folder and bucket, the same content: the same job.
    store = S3Store(f"{launcher.store.location}/again", launcher.store._client)
    again = Launcher(store, launcher.base, launcher.folder / "again")
    job = again.job(**changes)
    for attempt, step in enumerate((3, 11, 26)):

        def kill(progress: Progress, step: int = step) -> None:
            if progress.step >= step:
                for child in children():
                    child.kill()

        with pytest.raises(errors.TransientError, match="killed"):
            again.run(job, f"machine-{attempt}", kill)
    found = again.run(job, "last")
    assert found.steps == wanted.steps
    assert found.resumed_from_steps
    assert found.checkpoint.model_digest == wanted.checkpoint.model_digest
    assert [(p.step, p.loss) for p in found.curve if p.loss] == [
        (p.step, p.loss) for p in wanted.curve if p.loss
    ]


@pytest.mark.slow
def test_two_processes_learn_as_one_does(launcher: Launcher) -> None:
    # 30 s for every piece, so that one cut or another has the same context.
    changes = {"max_steps": 8, "eval_share": 0.5, "context_margin_s": 30.0, "batch_size": 6}
    changes |= {"packed_share": 0.5}
    one = launcher.run(launcher.job(**changes), "one")
    other_store = S3Store(f"{launcher.store.location}/two", launcher.store._client)
    pair = Launcher(other_store, launcher.base, launcher.folder / "two")
    two = pair.run(pair.job(**changes, processes=2), "work")
    for a, b in zip(one.curve, two.curve, strict=True):
        assert a.step == b.step
        assert (a.loss or 0) == pytest.approx(b.loss or 0, rel=2e-3)
        assert (a.validation_loss or 0) == pytest.approx(b.validation_loss or 0, rel=2e-3)
        assert a.validation_wer == b.validation_wer


@pytest.mark.slow
def test_two_processes_are_cancelled_and_resume(launcher: Launcher) -> None:
    job = launcher.job(max_steps=400, eval_share=0.5, processes=2)
    with pytest.raises(CancelledError):
        launcher.run(job, listen=cancel_at(1))
    assert children() == []
    assert launcher.run(job, "another").resumed_from_steps


def test_the_child_is_told_to_stop_when_its_parent_is_killed(launcher: Launcher) -> None:
    job = launcher.job(max_steps=100_000, eval_share=1)
    (launcher.folder / "job.json").write_text(job.model_dump_json())
    script = (
        "import sys; from pathlib import Path;"
        "from whisper_retrain.training.job import TrainingJob;"
        "from whisper_retrain.training.launch import run_training;"
        "folder = Path(sys.argv[1]);"
        "job = TrainingJob.model_validate_json((folder / 'job.json').read_bytes());"
        "run_training(job, sys.argv[2], Path(sys.argv[3]), folder / 'work',"
        " lambda p: print(p.step, flush=True))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, launcher.folder, launcher.store.location, launcher.base],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    for line in parent.stdout:
        if int(line) > 0:
            break
    child = psutil.Process(parent.pid).children()[0]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert psutil.wait_procs([child], timeout=120)[1] == []
    keys = list(launcher.store.keys(f"{job.prefix}/state/"))
    assert any(key.endswith("tensors.pt") for key in keys)


@pytest.mark.parametrize("kind", list(EXIT_CODES))
def test_every_error_has_a_code_and_comes_back_from_its_file(
    kind: type[errors.WhisperRetrainError], tmp_path: Path
) -> None:
    error = kind("it broke", where="step 3", got="smoke", remedy="run again")
    leave_error(tmp_path / "record.json", error)
    found = error_of(tmp_path / "record.json", exit_code(error), "")
    assert type(found) is kind
    assert str(found) == str(error)


def test_the_first_process_to_fail_says_why(tmp_path: Path) -> None:
    leave_error(tmp_path / "record.json", errors.InputError("first"))
    leave_error(tmp_path / "record.json", errors.PermanentError("connection lost"))
    assert isinstance(error_of(tmp_path / "record.json", 1, ""), errors.InputError)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (-signal.SIGKILL, errors.TransientError),
        (-signal.SIGTERM, errors.InterruptedTrainingError),
        (1, errors.PermanentError),
        (-signal.SIGSEGV, errors.PermanentError),
    ],
)
def test_a_process_that_could_say_nothing_is_judged_by_its_code(
    code: int, kind: type[Exception], tmp_path: Path
) -> None:
    error = error_of(tmp_path / "record.json", code, "last words")
    assert type(error) is kind


def test_the_parents_side_imports_no_torch() -> None:
    script = "import sys, whisper_retrain.training.launch; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_after_a_while_without_news_the_last_news_are_said_again() -> None:
    said: list[Progress] = []
    with Reporter(said.append, quiet_s=0.2) as reporter:
        reporter.say("loading", "a large model")
        time.sleep(1.0)
    assert [p.message for p in said].count("a large model") >= 3
    assert said[-1].elapsed_s > said[1].elapsed_s


def test_news_survive_their_way_through_a_line() -> None:
    progress = Progress(phase="training", step=3, total_steps=9, loss=0.5)
    assert parse(progress.model_dump_json()) == progress
    assert parse("Loading weights: 100%") is None
    assert parse('{"phase":"training","step":') is None


def test_a_line_for_people_says_what_is_known() -> None:
    progress = Progress(
        phase="training",
        step=3,
        total_steps=9,
        loss=0.51,
        wer=0.125,
        audio_s_per_s=27.2,
        eta_s=12.0,
    )
    assert progress.line() == ("training, step 3/9, loss 0.510, WER 12.5 %, 27 audio-s/s, ETA 12 s")

"""The parent's side of a training: starts the process, hears it out, and leaves no orphan.

Imports no torch. The child is its own process so that a crash, an out-of-memory or a cancellation
never takes the caller with it.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from whisper_retrain.edges.store import S3Store, read_record
from whisper_retrain.errors import PermanentError
from whisper_retrain.records import TrainingRun
from whisper_retrain.training.exit_codes import error_file, error_of
from whisper_retrain.training.job import TrainingJob
from whisper_retrain.training.progress import Progress, parse

GRACE_S = 60.0  # to save the training state after SIGTERM
logger = logging.getLogger("whisper_retrain.training")


def run_training(
    job: TrainingJob,
    store_location: str,
    base_model_dir: Path,
    work_dir: Path,
    on_progress: Callable[[Progress], None],
) -> TrainingRun:
    """Train in a process of its own (under torchrun when there are several) and wait for it.

    Of several machines each calls this with the same job, and each gets the same record.

    A job that has a record already is not trained again. Whatever ends this call, an exception of
    `on_progress` or a signal turned into one included, ends the process too: SIGTERM, so that it
    saves its state, then SIGKILL. Raises InterruptedTrainingError when it was stopped (a rerun
    resumes), InputError, OutOfMemoryError, DivergedError or another of errors.py.
    """
    store = S3Store(store_location)
    done = read_record(store, job.record_key, TrainingRun)
    if done is not None:
        return job.named(done)
    work_dir.mkdir(parents=True, exist_ok=True)
    job_file, record_file = work_dir / "job.json", work_dir / "record.json"
    job_file.write_text(job.model_dump_json(indent=1))
    record_file.unlink(missing_ok=True)
    error_file(record_file).unlink(missing_ok=True)
    command = [sys.executable, "-m", "whisper_retrain.training", str(job_file), str(record_file)]
    command += ["--store", store_location, "--base-model", str(base_model_dir)]
    command += ["--work", str(work_dir), "--processes", str(job.config.processes)]
    command += ["--nodes", str(job.config.nodes)]
    code, tail = _attend(command, job.config.deadline_s, on_progress, _environment(job))
    if code == 0:
        if record_file.exists():
            return TrainingRun.model_validate_json(record_file.read_bytes())
        # Of several machines only the first one has it on its disk.
        made = read_record(store, job.record_key, TrainingRun)
        if made is not None:
            return job.named(made)
    raise error_of(record_file, code, tail)


def _environment(job: TrainingJob) -> dict[str, str]:
    """The caller's environment; several processes share the cores unless told otherwise."""
    threads = job.config.threads or (os.cpu_count() or 1) // job.config.processes or 1
    # Models and tokenizers come from local files only: nothing may be asked of the Hub.
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }


def _attend(
    command: list[str],
    deadline_s: float,
    on_progress: Callable[[Progress], None],
    environment: dict[str, str],
) -> tuple[int, str]:
    """Run to the end; exit code and the last lines of stderr."""
    # A session of its own: Ctrl-C reaches the child through us, and only once.
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    tail: deque[str] = deque(maxlen=12)
    readers = [
        threading.Thread(target=_read_progress, args=(child, lines), daemon=True),
        threading.Thread(target=_read_log, args=(child, tail), daemon=True),
    ]
    try:
        for reader in readers:
            reader.start()
        _hear(lines, deadline_s, on_progress)
        code = child.wait()
    except BaseException:
        _end(child)
        raise
    finally:
        for reader in readers:
            reader.join(timeout=5)
    return code, " | ".join(tail)


def _hear(
    lines: queue.SimpleQueue[str | None],
    deadline_s: float,
    on_progress: Callable[[Progress], None],
) -> None:
    """Pass news on until the child closes its output; PermanentError at the deadline."""
    ends_at = time.monotonic() + deadline_s
    while True:
        try:
            line = lines.get(timeout=max(0.01, ends_at - time.monotonic()))
        except queue.Empty:
            line = ""
        if line is None:
            return
        if time.monotonic() >= ends_at:
            raise PermanentError(
                "training took longer than its deadline and was stopped; its state is saved",
                expected=f"at most {deadline_s:.0f} s",
                remedy="raise deadline_s and run again: it resumes",
            )
        progress = parse(line)
        if progress:
            on_progress(progress)
        elif line.strip():
            logger.info(line.rstrip())


def _read_progress(child: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in child.stdout or ():
        lines.put(line)
    lines.put(None)


def _read_log(child: subprocess.Popen[str], tail: deque[str]) -> None:
    for line in child.stderr or ():
        if line.strip():
            tail.append(line.rstrip())
            logger.info(line.rstrip())


def _end(child: subprocess.Popen[str]) -> None:
    """SIGTERM, time to save, SIGKILL; to the whole session where torchrun has children."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            logger.warning("training did not end within %.0f s of SIGTERM: killed", GRACE_S)
    # Also after an orderly end: nothing of the session may outlive us.
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        child.wait()

"""`python -m whisper_retrain.training JOB.json RECORD.json ...`: the child's side of a training.

Progress goes to stdout as JSON lines, everything else to stderr. Ends with a code of exit_codes.py.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from whisper_retrain.errors import (
    InputError,
    InterruptedTrainingError,
    OutOfMemoryError,
    PermanentError,
    WhisperRetrainError,
)
from whisper_retrain.training.exit_codes import exit_code, leave_error
from whisper_retrain.training.job import TrainingJob
from whisper_retrain.training.progress import Progress, Reporter, to_stdout
from whisper_retrain.whole import write_whole

if TYPE_CHECKING:
    from whisper_retrain.edges.store import ObjectStore
    from whisper_retrain.training.speech import TrainingSpeech

PR_SET_PDEATHSIG = 1
NODE_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


def main() -> int:
    """Train, and say by file and exit code how it went."""
    arguments = _arguments()
    _die_with_parent()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for name in ("botocore", "boto3", "urllib3", "httpx", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        if arguments.processes * arguments.nodes > 1 and "LOCAL_RANK" not in os.environ:
            _become_torchrun(arguments.processes, arguments.nodes)
        _train(arguments, stopping)
    except WhisperRetrainError as error:
        leave_error(arguments.record, error)
        logging.getLogger(__name__).error("%s", error)
        return exit_code(error)
    except Exception as error:
        logging.getLogger(__name__).exception("training failed")
        known = _known(error)
        leave_error(arguments.record, known)
        return exit_code(known)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m whisper_retrain.training", description=__doc__)
    parser.add_argument("job", type=Path, help="the TrainingJob, as JSON")
    parser.add_argument("record", type=Path, help="where to write the TrainingRun")
    parser.add_argument("--store", required=True, help="s3://bucket/prefix of all artifacts")
    parser.add_argument("--base-model", type=Path, required=True, help="its directory")
    parser.add_argument("--work", type=Path, required=True, help="directory for what is under way")
    parser.add_argument("--processes", type=int, default=1, help="more than one: torchrun")
    parser.add_argument("--nodes", type=int, default=1, help="machines that do this together")
    return parser.parse_args()


def _die_with_parent() -> None:
    """Be told to stop when the parent dies, whatever it dies of."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(exit_code(PermanentError("the parent process is gone")))


def _become_torchrun(processes: int, nodes: int) -> None:
    """Turn into torchrun, which starts this very command once for each process."""
    place = ["--standalone"] if nodes == 1 else place_among(nodes, os.environ)
    command = [sys.executable, "-m", "torch.distributed.run", *place]
    command += ["--nproc-per-node", str(processes), "-m", "whisper_retrain.training"]
    os.execv(sys.executable, [*command, *sys.argv[1:]])  # noqa: S606 - there is no shell


def place_among(nodes: int, environment: Mapping[str, str]) -> list[str]:
    """torchrun's flags for this machine; InputError when the environment does not say which it is.

    Not its c10d rendezvous: that takes for the host whoever's name resolves to the address.
    """
    missing = [name for name in NODE_VARIABLES if not environment.get(name)]
    if missing:
        raise InputError(
            f"this is one of {nodes} machines, and it is not said which",
            where="the environment",
            expected=f"{', '.join(NODE_VARIABLES)}, the first two the same on all machines",
            got=f"no {', '.join(missing)}",
            remedy="set them (Kubeflow Trainer does), or training.nodes: 1",
        )
    address, port, rank = (environment[name] for name in NODE_VARIABLES)
    where = ["--master-addr", address, "--master-port", port]
    return ["--nnodes", str(nodes), "--node-rank", rank, *where]


def _train(arguments: argparse.Namespace, stopping: threading.Event) -> None:
    job = TrainingJob.model_validate_json(arguments.job.read_bytes())
    main_process = os.environ.get("RANK", "0") == "0"
    with Reporter(to_stdout if main_process else _nowhere) as reporter:
        reporter.say("loading", "torch and transformers")
        # Only now what takes seconds to import: the parent has heard of us.
        from whisper_retrain.edges.store import S3Store
        from whisper_retrain.settings import load_settings
        from whisper_retrain.training.devices import Device
        from whisper_retrain.training.fine_tuning import Surroundings, train

        store = S3Store(arguments.store)
        settings = load_settings()
        device = Device(job.config.precision)
        try:
            around = Surroundings(
                speech=_open_speech(
                    store, job, settings.cache_dir.absolute(), settings.cache_max_bytes
                ),
                store=store,
                base_model_dir=arguments.base_model,
                work_dir=arguments.work,
                device=device,
                reporter=reporter,
                wandb_project=settings.wandb_project,
                stopping=stopping.is_set,
            )
            run = train(job, around)
        finally:
            device.close()
    if run is not None:
        write_whole(arguments.record, run.model_dump_json(indent=1))


def _open_speech(
    store: ObjectStore, job: TrainingJob, cache_dir: Path, cache_bytes: int
) -> TrainingSpeech:
    """Training and validation split of the dataset revision; the test split is never handed out."""
    from whisper_retrain.data.manifest import load_manifest
    from whisper_retrain.data.shards import AudioShards
    from whisper_retrain.training.speech import TrainingSpeech

    # The folders that evaluation uses too, so that nothing is downloaded twice.
    utterances = load_manifest(store, job.dataset, cache_dir)
    new: frozenset[str] = frozenset()
    if job.start and job.start.dataset:
        known = load_manifest(store, job.start.dataset, cache_dir)
        before = {utterance.id for utterance in known if utterance.split == "train"}
        new = frozenset(utterance.id for utterance in utterances) - before
    shards = AudioShards(store, cache_dir, cache_bytes)
    by_id = {utterance.id: utterance for utterance in utterances}
    return TrainingSpeech(
        train=[utterance for utterance in utterances if utterance.split == "train"],
        validation=[utterance for utterance in utterances if utterance.split == "validation"],
        audio=lambda utterance: shards.audio(by_id[utterance.id]),
        new_ids=new,
    )


def _nowhere(_: Progress) -> None:
    """Only the main process speaks."""


def _known(error: Exception) -> WhisperRetrainError:
    import torch

    from whisper_retrain.training.devices import is_lost_peer

    if is_lost_peer(error):
        return InterruptedTrainingError(
            "another process of this training went away",
            got=str(error).splitlines()[0][:200],
            remedy="run again, on every machine: it resumes at the last state that was saved",
        )
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return OutOfMemoryError(
            "memory ran out",
            got=str(error).splitlines()[0] if str(error) else "",
            remedy="use a smaller batch for validation, a smaller model or a larger machine",
        )
    return PermanentError(
        "training failed", got=f"{type(error).__name__}: {error}", remedy="see the log above"
    )


if __name__ == "__main__":
    sys.exit(main())

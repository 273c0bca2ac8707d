"""Training state: all that a training needs to go on, written while it goes on.

Knows nothing of models but that a state dict is one. A state is first written to the work
directory, then uploaded by a thread; its manifest, with the digest of each file, comes last, and a
state is read only when every file has its digest. So a kill at any moment costs at most the time
since the last state, and a truncated one is passed over for the one before it.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from whisper_retrain.edges.store import ObjectStore, sha256_of, write_record
from whisper_retrain.errors import PermanentError, WhisperRetrainError
from whisper_retrain.records import Artifact, Record
from whisper_retrain.training.course import Course
from whisper_retrain.training.optimization import Optimization
from whisper_retrain.training.weights import KeptWeights
from whisper_retrain.whole import whole_folder, write_whole

FORMAT = 1
TENSORS, COURSE = "tensors.pt", "course.json"
STATES_KEPT = 2
STOP_PATIENCE_S = 25.0  # to upload after SIGTERM; schedulers kill after 30 s
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # between two tries of an upload
logger = logging.getLogger(__name__)


class StateManifest(Record):
    """What a training state consists of; its existence says that the rest is there."""

    format: int = FORMAT
    """Of the state; another one is passed over."""
    job: str
    """Digest of the TrainingJob."""
    step: int
    """Optimizer steps done."""
    files: dict[str, Artifact]
    """By file name."""


class States:
    """The training states of one job, here and in S3."""

    def __init__(
        self,
        store: ObjectStore,
        prefix: str,
        job: str,
        work_dir: Path,
        interval_s: float,
        at_most: int | None = None,
    ) -> None:
        """States of later steps than `at_most` are left alone."""
        self._store, self._prefix, self._job = store, f"{prefix}/state", job
        self._at_most = at_most
        self._dir, self._interval_s = work_dir / "state", interval_s
        self._dir.mkdir(parents=True, exist_ok=True)
        self._saved_at = time.monotonic()
        self._uploader = _Uploader(self._upload)

    def is_due(self) -> bool:
        """Whether the interval since the last state has passed."""
        return time.monotonic() - self._saved_at >= self._interval_s

    def save(self, course: Course, optimization: Optimization, kept: KeptWeights) -> None:
        """Write the state here, and have it uploaded meanwhile; a full disk is only warned of."""
        self._saved_at = time.monotonic()
        target = self._dir / f"{course.step:08d}"
        try:
            with whole_folder(target) as draft:
                torch.save(_tensors(optimization), draft / TENSORS)
                (draft / COURSE).write_text(course.model_dump_json())
                for path in kept.files():
                    # A link: the loop may forget these weights before they are uploaded.
                    os.link(path, draft / path.name)
                shutil.rmtree(target, ignore_errors=True)
        except OSError as error:
            logger.warning("training state was not saved, training goes on: %s", error)
            return
        self._uploader.submit(course.step)

    def wait(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """Give the last state time to arrive in S3."""
        if not self._uploader.wait(patience_s):
            logger.warning(
                "training state is not in S3 yet; only a rerun with this work directory resumes"
            )

    def close(self) -> None:
        """Stop uploading."""
        self._uploader.close()

    def restore(self, optimization: Optimization, kept: KeptWeights) -> Course | None:
        """Load the newest state that is whole; None when there is none."""
        for directory in self._whole():
            try:
                _load_tensors(directory / TENSORS, optimization)
                course = Course.model_validate_json((directory / COURSE).read_bytes())
            except (RuntimeError, ValueError, KeyError, OSError) as error:
                logger.warning("passed over a training state that does not fit: %s", error)
                continue
            for path in directory.glob("*.safetensors"):
                _link(path, kept.directory / path.name)
            return course
        return None

    def clear(self) -> None:
        """Forget all states: the training has a record now, which no failure here may cost."""
        self.close()
        shutil.rmtree(self._dir, ignore_errors=True)
        try:
            for key in list(self._store.keys(f"{self._prefix}/")):
                self._store.delete(key)
        except WhisperRetrainError as error:
            logger.warning("training states stay in S3: %s", error)

    def fetch(self, alone: bool = True) -> None:
        """Bring the newest whole state of S3 here.

        Alone, a newer one that is here already stays; with other machines it is forgotten, for
        they cannot know of it.
        """
        here = {int(directory.name) for directory in self._whole()}
        stored = list(self._stored())
        if not alone:
            self._forget_newer(stored[0].step if stored else -1)
        for manifest in stored:
            if manifest.step in here or (alone and manifest.step < max(here, default=-1)):
                return
            directory = self._dir / f"{manifest.step:08d}"
            try:
                directory.mkdir(exist_ok=True)
                for name, artifact in manifest.files.items():
                    self._store.download(artifact, directory / name)
                self._note(manifest)
            except PermanentError as error:
                logger.warning(
                    "passed over the training state of step %d: %s", manifest.step, error
                )
                shutil.rmtree(directory, ignore_errors=True)
                continue
            return

    def _stored(self) -> Iterator[StateManifest]:
        """Manifests in S3, newest first."""
        keys = [key for key in self._store.keys(f"{self._prefix}/") if key.endswith(".json")]
        for key in sorted(k for k in keys if k.count("/") == self._prefix.count("/") + 1)[::-1]:
            manifest = self._parsed(self._store.read(key), key)
            if manifest and self._is_early(manifest):
                yield manifest

    def _local(self) -> Iterator[StateManifest]:
        """Manifests here, newest first."""
        for path in sorted(self._dir.glob("*.json"), reverse=True):
            manifest = self._parsed(path.read_bytes(), str(path))
            if manifest and self._is_early(manifest):
                yield manifest

    def _whole(self) -> Iterator[Path]:
        """Directories of states here whose files all have their digests, newest first."""
        for manifest in self._local():
            directory = self._dir / f"{manifest.step:08d}"
            try:
                whole = all(
                    sha256_of(directory / name) == artifact.sha256
                    for name, artifact in manifest.files.items()
                )
            except OSError:
                whole = False
            if whole:
                yield directory
            else:
                logger.warning("passed over a training state that is not whole: %s", directory)

    def _is_early(self, manifest: StateManifest) -> bool:
        return self._at_most is None or manifest.step <= self._at_most

    def _parsed(self, data: bytes, where: str) -> StateManifest | None:
        try:
            manifest = StateManifest.model_validate_json(data)
        except ValidationError:
            logger.warning("passed over an unreadable training state: %s", where)
            return None
        if (manifest.job, manifest.format) == (self._job, FORMAT):
            return manifest
        logger.warning("passed over a training state of another job or format: %s", where)
        return None

    def _upload(self, step: int) -> None:
        """Files, then the manifest, then forget older states."""
        directory = self._dir / f"{step:08d}"
        paths = sorted(directory.iterdir())
        here = {
            path.name: Artifact(
                uri=self._store.uri(self._key(step, path.name)),
                sha256=sha256_of(path),
                size_bytes=path.stat().st_size,
            )
            for path in paths
        }
        manifest = StateManifest(job=self._job, step=step, files=here)
        self._note(manifest)
        for path in paths:
            shared = path.suffix == ".safetensors" and self._store.exists(
                self._key(step, path.name)
            )
            if not shared:
                self._store.upload(self._key(step, path.name), path)
        write_record(self._store, f"{self._prefix}/{step:08d}.json", manifest)
        self._forget_older(manifest)

    def _key(self, step: int, name: str) -> str:
        """Kept weights belong to their own step, and so are uploaded once."""
        if name.endswith(".safetensors"):
            return f"{self._prefix}/kept/{name}"
        return f"{self._prefix}/{step:08d}/{name}"

    def _note(self, manifest: StateManifest) -> None:
        write_whole(self._dir / f"{manifest.step:08d}.json", manifest.model_dump_json())

    def _forget_newer(self, step: int) -> None:
        for manifest in list(self._local()):
            if manifest.step > step:
                (self._dir / f"{manifest.step:08d}.json").unlink(missing_ok=True)

    def _forget_older(self, newest: StateManifest) -> None:
        """Keep two states: the newer might prove truncated. Manifests go first."""
        for manifest in list(self._local())[STATES_KEPT:]:
            (self._dir / f"{manifest.step:08d}.json").unlink(missing_ok=True)
            shutil.rmtree(self._dir / f"{manifest.step:08d}", ignore_errors=True)
        stored = [manifest for manifest in self._stored() if manifest.step <= newest.step]
        used = {a.uri for manifest in stored[:STATES_KEPT] for a in manifest.files.values()}
        for manifest in stored[STATES_KEPT:]:
            self._store.delete(f"{self._prefix}/{manifest.step:08d}.json")
            for artifact in manifest.files.values():
                if artifact.uri not in used:
                    self._store.delete(self._store.key(artifact.uri))


class _Uploader:
    """A thread that uploads the newest state, again and again until it is there."""

    def __init__(self, upload: Callable[[int], None]) -> None:
        self._upload = upload
        self._pending: int | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, step: int) -> None:
        """Upload this state; an older one that is still waiting is left out."""
        with self._changed:
            self._pending = step
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="state-upload", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Whether everything submitted arrived within so long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._pending is None, seconds)

    def close(self) -> None:
        """End the thread after what it is doing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._pending is not None)
                step = self._pending
            if self._closed or step is None:
                return
            try:
                self._upload(step)
            except (WhisperRetrainError, OSError) as error:
                logger.warning("training state of step %d is not in S3 yet: %s", step, error)
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
                continue
            pause_s = FIRST_PAUSE_S
            with self._changed:
                if self._pending == step:
                    self._pending = None
                self._changed.notify_all()


def _tensors(optimization: Optimization) -> dict[str, Any]:
    named = optimization.loss.named_parameters()
    return {
        "parameters": {name: value.data for name, value in named if value.requires_grad},
        "optimizer": optimization.optimizer.state_dict(),
        "scaler": optimization.scaler.state_dict(),
    }


def _load_tensors(path: Path, optimization: Optimization) -> None:
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    own = {n: v for n, v in optimization.loss.named_parameters() if v.requires_grad}
    shapes = {name: tuple(value.shape) for name, value in found["parameters"].items()}
    if shapes != {name: tuple(value.shape) for name, value in own.items()}:
        raise ValueError(f"{path} is of another architecture")
    optimization.optimizer.load_state_dict(found["optimizer"])
    optimization.scaler.load_state_dict(found["scaler"])
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(found["parameters"][name])


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    os.link(source, target)

"""The files that make a model: which they are, their digest, their way to and from S3 and the Hub.

Knows nothing of torch or of what is in the files. Two directories with the same model digest load
to the same model; a model card or a training log beside the files changes nothing. What is fetched
for this machine is fetched once, and a folder appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import ClassVar

from whisper_retrain.edges.hub import Hub
from whisper_retrain.edges.store import ObjectStore, sha256_of
from whisper_retrain.errors import InputError, IntegrityError
from whisper_retrain.records import Checkpoint, Job, ModelRef, digest_of
from whisper_retrain.whole import whole_folder

# What inference reads, in the names that transformers gives them.
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "normalizer.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "processor_config.json",
)
NEEDED = ("config.json", "generation_config.json")


class ModelJob(Job):
    """Say by digest what the files of a Hub model are."""

    stage: ClassVar[str] = "model"
    version: ClassVar[str] = "v1"

    name: str
    """What it is called in logs and reports: its role."""
    repo: str
    """On the Hub."""
    revision: str
    """Its commit, 40 hex digits."""


def model_files(directory: Path) -> list[Path]:
    """The files of a model in a directory, by name; InputError when it holds no model."""
    found = sorted(
        path
        for path in directory.iterdir()
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in MODEL_FILES)
    )
    names = {path.name for path in found}
    missing = [name for name in NEEDED if name not in names]
    if not any(name.endswith(".safetensors") for name in names):
        missing.append("*.safetensors")
    if missing:
        raise InputError(
            "not a complete model",
            where=str(directory),
            expected=f"also {', '.join(missing)}",
            got=", ".join(sorted(names)) or "no model file",
            remedy="name a transformers checkpoint with safetensors weights",
        )
    return found


def model_digest(directory: Path) -> str:
    """sha256 over {file name: sha256} of the files that inference needs."""
    return digest_of({path.name: sha256_of(path) for path in model_files(directory)})


def upload_checkpoint(store: ObjectStore, prefix: str, directory: Path) -> Checkpoint:
    """Store a directory's model files under `prefix/`; several GB for the large sizes."""
    files = {
        path.name: store.upload(f"{prefix.rstrip('/')}/{path.name}", path, _content_type(path))
        for path in model_files(directory)
    }
    sums = {name: artifact.sha256 for name, artifact in files.items()}
    return Checkpoint(files=files, model_digest=digest_of(sums))


def download_checkpoint(store: ObjectStore, checkpoint: Checkpoint, directory: Path) -> Path:
    """Fetch a checkpoint into `directory`, each file verified; files already there are kept."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, artifact in checkpoint.files.items():
        target = directory / name
        if not (target.exists() and sha256_of(target) == artifact.sha256):
            store.download(artifact, target)
    found = model_digest(directory)
    if found != checkpoint.model_digest:
        raise IntegrityError(
            "directory holds other model files than the checkpoint",
            where=str(directory),
            expected=f"model digest {checkpoint.model_digest}",
            got=found,
            remedy="download into an empty directory",
        )
    return directory


def fetch_revision(hub: Hub, repo: str, revision: str, cache_dir: Path) -> Path:
    """The model files of a Hub revision (40 hex digits, never a moving ref)."""
    return _once(
        cache_dir / repo.replace("/", "--") / revision,
        lambda target: hub.download(repo, revision, target, MODEL_FILES),
    )


def fetch_checkpoint(store: ObjectStore, checkpoint: Checkpoint, cache_dir: Path) -> Path:
    """The files of a checkpoint in S3."""
    return _once(
        cache_dir / "checkpoints" / checkpoint.model_digest,
        lambda target: download_checkpoint(store, checkpoint, target),
    )


def describe(hub: Hub, job: ModelJob, cache_dir: Path) -> ModelRef:
    """The reference of a Hub model, with the digest of its files."""
    folder = fetch_revision(hub, job.repo, job.revision, cache_dir)
    return ModelRef(
        name=job.name, repo=job.repo, revision=job.revision, model_digest=model_digest(folder)
    )


def _once(target: Path, fill: Callable[[Path], object]) -> Path:
    if not target.is_dir():
        with whole_folder(target, first_stays=True) as draft:
            fill(draft)
    return target


def _content_type(path: Path) -> str:
    types = {".json": "application/json", ".txt": "text/plain; charset=utf-8"}
    return types.get(path.suffix, "application/octet-stream")

"""Which repositories exist, where they lie, and their settings. Knows nothing of their history.

A repository appears and disappears by one rename, so a killed server never leaves half of one.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from dulwich.repo import Repo as GitRepo
from pydantic import BaseModel, ConfigDict, Field

from loopback_hub.answers import AnswerError, bad_request
from loopback_hub.lfs import LfsStore

KINDS = ("models", "datasets")
RESERVED_NAMESPACES = frozenset({"api", "datasets", "models", "spaces", "lfs"})


class RepoSettings(BaseModel):
    """hub.json: what the Hub knows of a repository besides its git history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    private: bool = False
    gated: Literal["auto", "manual", False] = False
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class RepoId:
    """Kind, namespace and name: all that a URL says about a repository."""

    kind: str
    namespace: str
    name: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS or not (_is_name(self.namespace) and _is_name(self.name)):
            raise bad_request(f"Invalid repository {self.kind} {self.namespace}/{self.name}")

    @property
    def full_name(self) -> str:
        """namespace/name, which the clients call repo_id."""
        return f"{self.namespace}/{self.name}"

    @property
    def web_path(self) -> str:
        """Path of the repository's page, without the leading slash."""
        return f"datasets/{self.full_name}" if self.kind == "datasets" else self.full_name

    @property
    def object_id(self) -> str:
        """The 24 hex digits that the Hub's answers call _id."""
        return hashlib.sha256(f"{self.kind}/{self.full_name}".encode()).hexdigest()[:24]


def _is_name(text: str) -> bool:
    """The client's own rule (huggingface_hub.utils.validate_repo_id), which also bars `..`."""
    allowed = re.fullmatch(r"[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?", text, re.ASCII)
    return bool(allowed) and not ("--" in text or ".." in text or text.endswith(".git"))


@dataclass(frozen=True)
class Repo:
    """One stored repository. `lock` is held for writing; reading needs none."""

    id: RepoId
    folder: Path
    lock: threading.Lock = field(repr=False, compare=False)

    def git(self) -> AbstractContextManager[GitRepo]:
        """Open the bare git repository; one per request, since dulwich's is not thread-safe."""
        return GitRepo(str(self.folder))

    @property
    def lfs(self) -> LfsStore:
        """Its large files."""
        return LfsStore(self.folder / "lfs")

    def settings(self) -> RepoSettings:
        """Read hub.json."""
        return RepoSettings.model_validate_json((self.folder / "hub.json").read_text("utf-8"))


class Repos:
    """All repositories below one data folder, which one server owns at a time."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._data, self.tmp = data, data / "tmp"
        self._owner = _own(data / "lock")
        self._locks: dict[RepoId, threading.Lock] = {}
        self.secret = _secret(data / "secret")
        self._sweep()

    def find(self, repo_id: RepoId) -> Repo | None:
        """The repository, or None; whether the caller may know of it is not decided here."""
        repo = self._repo(repo_id)
        return repo if (repo.folder / "hub.json").exists() else None

    def all(self) -> list[Repo]:
        """Every repository, by kind and name."""
        return [
            self._repo(RepoId(kind, folder.parent.name, folder.name.removesuffix(".git")))
            for kind in KINDS
            for folder in sorted((self._data / kind).glob("*/*.git"))
        ]

    def draft(self, repo_id: RepoId, settings: RepoSettings) -> Repo:
        """An empty repository outside the listing, to be filled and then handed to `publish`."""
        if repo_id.namespace in RESERVED_NAMESPACES:
            raise bad_request(f"The namespace {repo_id.namespace} is reserved")
        folder = self.tmp / f"repo-{secrets.token_hex(8)}"
        GitRepo.init_bare(folder, mkdir=True, default_branch=b"main").close()
        repo = Repo(repo_id, folder, threading.Lock())
        self.change(repo, settings)
        return repo

    def publish(self, draft: Repo) -> None:
        """Make a draft appear under its name; 409 when the name is taken."""
        target = self._repo(draft.id).folder
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.folder.rename(target)  # fails on a folder that isn't empty: nothing is replaced
        except OSError as error:
            shutil.rmtree(draft.folder, ignore_errors=True)
            if not target.exists():
                raise
            raise AnswerError(
                409, f"You already created this repo: {draft.id.full_name}"
            ) from error

    def delete(self, repo: Repo) -> None:
        """Take a repository out of the listing at once, then remove its files."""
        grave = self.tmp / f"gone-{secrets.token_hex(8)}"
        with repo.lock, contextlib.suppress(FileNotFoundError):  # another call was faster
            repo.folder.rename(grave)
        shutil.rmtree(grave, ignore_errors=True)

    def change(self, repo: Repo, settings: RepoSettings) -> None:
        """Replace hub.json."""
        draft = self.tmp / f"settings-{secrets.token_hex(8)}"
        draft.write_text(settings.model_dump_json(indent=2), "utf-8")
        draft.replace(repo.folder / "hub.json")

    def _repo(self, repo_id: RepoId) -> Repo:
        folder = self._data / repo_id.kind / repo_id.namespace / f"{repo_id.name}.git"
        return Repo(repo_id, folder, self._locks.setdefault(repo_id, threading.Lock()))

    def _sweep(self) -> None:
        """Remove what a killed server left: unfinished files, and git's lock files."""
        shutil.rmtree(self.tmp, ignore_errors=True)
        self.tmp.mkdir(mode=0o700)
        for repo in self.all():
            for lock in repo.folder.rglob("*.lock"):
                lock.unlink()


def _own(path: Path) -> int:
    """Hold the data folder until this process ends; OSError when another server has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _secret(path: Path) -> bytes:
    """The signing secret, made at first start and readable by its owner only."""
    if not path.exists():
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_bytes(secrets.token_bytes(32))
        draft.replace(path)
    return path.read_bytes()

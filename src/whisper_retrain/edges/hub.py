"""The Hub: repos with revisions, tags and atomic commits.

Knows nothing of what is stored there. A name that moves (branch, tag) is resolved first and read
by revision, since the client may answer for a name from a stale cache without saying so. What the
client itself does not retry is retried here, after a look whether it happened after all: a commit
whose answer was lost has moved the head.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from whisper_retrain.edges.hub_errors import translated
from whisper_retrain.edges.store import sha256_of
from whisper_retrain.errors import ConflictError, HubError, InputError, IntegrityError
from whisper_retrain.retries import retried

RepoKind = Literal["model", "dataset"]
T = TypeVar("T")

REVISION = re.compile(r"[0-9a-f]{40}")
ATTEMPTS = 4


@dataclass(frozen=True)
class Commit:
    """One commit of a repo; `message` is all of it."""

    revision: str
    """40 hex digits."""
    message: str
    """All of it."""


@dataclass(frozen=True)
class Account:
    """Whose token is in use, and what it may do."""

    user: str
    """Its name."""
    role: str
    """read, write or fineGrained."""
    organisations: tuple[str, ...]
    """Those whose repos the user may change."""
    writable: tuple[str, ...] = ()
    """Names (users, organizations or repos) that a fine-grained token may write to."""

    def can_write(self, repo: str) -> bool:
        """Whether the token may write to a repo, as far as the Hub tells."""
        namespace = repo.split("/", maxsplit=1)[0]
        if self.role == "fineGrained":
            return bool({namespace, repo} & set(self.writable))
        return self.role == "write" and namespace in (self.user, *self.organisations)


class Hub(Protocol):
    """What the stages need of the Hub."""

    def resolve(self, repo: str, ref: str, kind: RepoKind = ...) -> str: ...
    def download(
        self,
        repo: str,
        revision: str,
        target_dir: Path,
        patterns: Sequence[str] | None = ...,
        kind: RepoKind = ...,
    ) -> Path: ...
    def whoami(self) -> Account: ...
    def head(self, repo: str, kind: RepoKind = ...) -> str | None: ...
    def tags(self, repo: str, kind: RepoKind = ...) -> dict[str, str]: ...
    def history(self, repo: str, kind: RepoKind = ...) -> list[Commit]: ...
    def create_repo(self, repo: str, *, private: bool, kind: RepoKind = ...) -> None: ...
    def commit(
        self,
        repo: str,
        files: Mapping[str, Path | bytes],
        message: str,
        parent: str | None,
        kind: RepoKind = ...,
    ) -> str: ...
    def move_tag(self, repo: str, tag: str, revision: str, kind: RepoKind = ...) -> None: ...
    def url(self, repo: str, revision: str, kind: RepoKind = ...) -> str: ...


class HubClient:
    """huggingface.co, or whatever HF_ENDPOINT names; HF_TOKEN is read by the client itself."""

    def __init__(
        self, endpoint: str | None = None, token: str | None = None, attempts: int = ATTEMPTS
    ) -> None:
        from huggingface_hub import HfApi

        self.api = HfApi(endpoint=endpoint or os.environ.get("HF_ENDPOINT") or None, token=token)
        self.endpoint = str(self.api.endpoint)
        self._attempts = attempts

    def resolve(self, repo: str, ref: str, kind: RepoKind = "model") -> str:
        """The revision that a branch, tag or revision names now."""
        where = f"{repo}@{ref}"
        info = self._ask(where, lambda: self.api.repo_info(repo, repo_type=kind, revision=ref))
        if not info.sha:
            raise InputError("the repo is empty", where=where, remedy="publish something first")
        return str(info.sha)

    def files(self, repo: str, revision: str, kind: RepoKind = "model") -> dict[str, Any]:
        """Path -> the client's RepoFile (size, blob_id, lfs) of every file at a revision."""
        from huggingface_hub.hf_api import RepoFile

        where = f"{repo}@{revision}"
        tree = self._ask(
            where,
            lambda: list(
                self.api.list_repo_tree(repo, repo_type=kind, revision=revision, recursive=True)
            ),
        )
        return {item.path: item for item in tree if isinstance(item, RepoFile)}

    def download(
        self,
        repo: str,
        revision: str,
        target_dir: Path,
        patterns: Sequence[str] | None = None,
        kind: RepoKind = "model",
    ) -> Path:
        """Fetch the files of a revision that match a pattern (all without), each verified."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils._paths import filter_repo_objects

        where = f"{repo}@{revision}"
        _require_revision(revision, where)
        listed = self.files(repo, revision, kind)
        wanted = list(filter_repo_objects(listed, allow_patterns=_list(patterns)))
        self._ask(
            where,
            lambda: snapshot_download(
                repo,
                repo_type=kind,
                revision=revision,
                local_dir=target_dir,
                allow_patterns=_list(patterns),
                endpoint=self.endpoint,
                token=self.api.token,
            ),
        )
        shutil.rmtree(target_dir / ".cache", ignore_errors=True)  # the client's notes
        for name in wanted:
            _verify(target_dir / name, listed[name], where)
        return target_dir

    def whoami(self) -> Account:
        """Whose token this is; InputError without one or with a wrong one."""
        found = self._ask(self.endpoint, self.api.whoami)
        token = found.get("auth", {}).get("accessToken", {})
        scopes = token.get("fineGrained", {}).get("scoped", [])
        return Account(
            user=str(found["name"]),
            role=str(token.get("role", "")),
            organisations=tuple(
                str(org["name"]) for org in found.get("orgs", []) if org.get("roleInOrg") != "read"
            ),
            writable=tuple(
                str(scope["entity"]["name"])
                for scope in scopes
                if "repo.write" in scope.get("permissions", ())
            ),
        )

    def head(self, repo: str, kind: RepoKind = "model") -> str | None:
        """The newest revision of the main branch; None without a repo or a commit."""
        info = self._ask_or_none(repo, lambda: self.api.repo_info(repo, repo_type=kind))
        return str(info.sha) if info is not None and info.sha else None

    def tags(self, repo: str, kind: RepoKind = "model") -> dict[str, str]:
        """Tag -> revision; empty without a repo."""
        refs = self._ask_or_none(repo, lambda: self.api.list_repo_refs(repo, repo_type=kind))
        return {tag.name: str(tag.target_commit) for tag in refs.tags} if refs else {}

    def history(self, repo: str, kind: RepoKind = "model") -> list[Commit]:
        """The commits of the main branch, newest first; empty without a repo or a commit."""
        if self.head(repo, kind) is None:
            return []
        found = self._ask(repo, lambda: list(self.api.list_repo_commits(repo, repo_type=kind)))
        return [
            Commit(
                str(one.commit_id), "\n\n".join(part for part in (one.title, one.message) if part)
            )
            for one in found
        ]

    def create_repo(self, repo: str, *, private: bool, kind: RepoKind = "model") -> None:
        """Make a repo; one that is there stays as it is."""
        self._ask(
            repo,
            lambda: self.api.create_repo(repo, repo_type=kind, private=private, exist_ok=True),
        )

    def commit(
        self,
        repo: str,
        files: Mapping[str, Path | bytes],
        message: str,
        parent: str | None,
        kind: RepoKind = "model",
    ) -> str:
        """Commit files on top of `parent` in one step; returns the revision that holds them.

        `message` (title, blank line, text) must name the content, say by a digest: by it one's own
        commit is known again when its answer was lost. Files that are the same at the head make
        no commit. Raises ConflictError when somebody else moved the head, and nothing is written.
        """
        title, _, text = message.partition("\n")

        def once() -> str:
            # A look first: the answer of an earlier try may have been lost, and without a change
            # the client returns the head, whoever moved it, without asking.
            if (stored := self._stored(repo, message, parent, kind)) is not None:
                return stored
            with translated(repo):
                info = self.api.create_commit(
                    repo,
                    _operations(files),
                    commit_message=title,
                    commit_description=text.strip(),
                    repo_type=kind,
                    parent_commit=parent,
                )
            return str(info.oid)

        return self._retried(once)

    def _stored(self, repo: str, message: str, parent: str | None, kind: RepoKind) -> str | None:
        """The commit of this message on top of `parent`; None while `parent` is the head."""
        head = self.head(repo, kind)
        if head == parent:
            return None
        for one in self.history(repo, kind):
            if one.revision == parent:
                break
            if one.message.split() == message.split():
                return one.revision
        raise ConflictError(
            "somebody else has committed to the repo meanwhile",
            where=repo,
            expected=f"head {parent}",
            got=f"head {head}",
            remedy="run it again; is another pipeline publishing to this repo?",
        )

    def move_tag(self, repo: str, tag: str, revision: str, kind: RepoKind = "model") -> None:
        """Let a tag name a revision, whatever it named before.

        The Hub cannot move a tag: it is deleted and made anew, and for a moment there is none.
        Killed in between, the same call again leads to the same end.
        """
        _require_revision(revision, f"{repo}, tag {tag}")
        where = f"{repo}, tag {tag}"

        def once() -> None:
            now = self.tags(repo, kind).get(tag)
            if now == revision:
                return
            with translated(where):
                if now is not None:
                    self.api.delete_tag(repo, tag=tag, repo_type=kind)
                self.api.create_tag(repo, tag=tag, revision=revision, repo_type=kind)

        try:
            self._retried(once)
        except ConflictError:
            # Made meanwhile: by the request whose answer was lost, or by somebody else.
            if self.tags(repo, kind).get(tag) != revision:
                raise

    def url(self, repo: str, revision: str, kind: RepoKind = "model") -> str:
        """Where a person can look at a revision."""
        prefix = "datasets/" if kind == "dataset" else ""
        return f"{self.endpoint}/{prefix}{repo}/tree/{revision}"

    def _ask(self, where: str, request: Callable[[], T]) -> T:
        """Send a request that may be repeated."""

        def once() -> T:
            with translated(where):
                return request()

        return self._retried(once)

    def _ask_or_none(self, where: str, request: Callable[[], T]) -> T | None:
        """As `_ask`; None when there is no such repo."""
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        def unless_missing() -> T | None:
            try:
                return request()
            except GatedRepoError:
                raise
            except RepositoryNotFoundError:
                return None

        return self._ask(where, unless_missing)

    def _retried(self, once: Callable[[], T]) -> T:
        return retried(
            once, on=HubError, attempts=self._attempts, first_pause_s=0.5, longest_pause_s=8
        )


def _operations(files: Mapping[str, Path | bytes]) -> list[Any]:
    from huggingface_hub import CommitOperationAdd

    # Made anew for each attempt: the client keeps notes on its progress in them.
    return [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)
        for name, content in files.items()
    ]


def _list(patterns: Sequence[str] | None) -> list[str] | None:
    return None if patterns is None else list(patterns)


def _require_revision(revision: str, where: str) -> None:
    if not REVISION.fullmatch(revision):
        raise InputError(
            "not a revision",
            where=where,
            expected="40 hex digits",
            got=revision,
            remedy="resolve it first",
        )


def _verify(path: Path, listed: Any, where: str) -> None:
    """Raise IntegrityError unless a file is what is listed: by sha256, or by git's blob id."""
    if listed.lfs is not None:
        expected, found = listed.lfs.sha256, sha256_of(path) if path.is_file() else "no file"
    else:
        data = path.read_bytes() if path.is_file() else b""
        blob = b"blob %d\x00" % len(data) + data
        expected, found = listed.blob_id, hashlib.sha1(blob, usedforsecurity=False).hexdigest()
    if found != expected:
        raise IntegrityError(
            "a file is not what the Hub lists",
            where=f"{where}/{listed.path}",
            expected=expected,
            got=found,
            remedy="download into an empty folder",
        )

"""The Hub: resolve first, then read by revision; look before a write is tried again.

Knows nothing of what a repo holds. `huggingface_hub` does not retry commits, tags and look-ups,
and a commit whose answer was lost is stored all the same: hence the look at the history here.
HF_ENDPOINT, HF_TOKEN and HF_HUB_DISABLE_XET are read by the client itself, at its first import.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from whisper_retrain.errors import (
    ConflictError,
    HubError,
    InputError,
    PermanentError,
    WhisperRetrainError,
)

RepoType = Literal["model", "dataset"]

# Every call below is safe to repeat: reads, and writes that look first.
_retried = retry(
    retry=retry_if_exception_type(HubError),
    stop=stop_after_attempt(4),
    wait=wait_random_exponential(multiplier=0.5, max=8),
    reraise=True,
)


@dataclass(frozen=True)
class Commit:
    """One commit of a repo."""

    revision: str
    message: str


@dataclass(frozen=True)
class Account:
    """Whose token it is, and what it may do."""

    user: str
    role: str
    organisations: tuple[str, ...]


class Hub(Protocol):
    """What the stages need of the Hub."""

    def whoami(self) -> Account: ...
    def resolve(self, repo: str, ref: str, repo_type: RepoType = ...) -> str: ...
    def head(self, repo: str) -> str | None: ...
    def tags(self, repo: str) -> dict[str, str]: ...
    def history(self, repo: str) -> Sequence[Commit]: ...
    def create_repo(self, repo: str, *, private: bool) -> None: ...
    def commit(
        self, repo: str, files: Mapping[str, Path | bytes], message: str, parent: str | None
    ) -> str: ...
    def move_tag(self, repo: str, tag: str, revision: str) -> None: ...
    def download(
        self, repo: str, revision: str, target: Path, patterns: Sequence[str] | None = ...
    ) -> Path: ...
    def url(self, repo: str, revision: str) -> str: ...


class HubClient:
    """huggingface.co, or whatever HF_ENDPOINT names, through `huggingface_hub`."""

    def __init__(self, endpoint: str | None = None, token: str | None = None) -> None:
        from huggingface_hub import HfApi

        self._api = HfApi(endpoint=endpoint, token=token, library_name="whisper-retrain")

    @_retried
    def whoami(self) -> Account:
        """The account of the token; InputError without a valid one."""
        with translated("whoami"):
            answer = self._api.whoami()
        role = answer.get("auth", {}).get("accessToken", {}).get("role", "unknown")
        names = tuple(one["name"] for one in answer.get("orgs", ()))
        return Account(user=answer["name"], role=role, organisations=names)

    @_retried
    def resolve(self, repo: str, ref: str, repo_type: RepoType = "model") -> str:
        """The revision (40 hex digits) that a branch, tag or revision is now."""
        with translated(f"{repo}@{ref}"):
            return str(self._api.repo_info(repo, revision=ref, repo_type=repo_type).sha)

    @_retried
    def head(self, repo: str) -> str | None:
        """The revision of `main`; None when there is no such repo, or no commit in it."""
        from huggingface_hub.errors import RepositoryNotFoundError

        with translated(repo):
            try:
                return self._api.repo_info(repo).sha
            except RepositoryNotFoundError as error:
                if "Invalid credentials" in str(error):
                    raise
                return None

    @_retried
    def tags(self, repo: str) -> dict[str, str]:
        """Tag -> revision."""
        with translated(repo):
            refs = self._api.list_repo_refs(repo)
        return {tag.name: tag.target_commit for tag in refs.tags}

    @_retried
    def history(self, repo: str) -> Sequence[Commit]:
        """All commits of `main`, newest first."""
        with translated(repo):
            found = self._api.list_repo_commits(repo)
        return [
            Commit(revision=one.commit_id, message=f"{one.title}\n{one.message}") for one in found
        ]

    @_retried
    def create_repo(self, repo: str, *, private: bool) -> None:
        """Make a model repo; nothing happens when it is there."""
        with translated(repo):
            self._api.create_repo(repo, private=private, exist_ok=True)

    @_retried
    def commit(
        self, repo: str, files: Mapping[str, Path | bytes], message: str, parent: str | None
    ) -> str:
        """One atomic commit on `main` on top of `parent`; returns its revision.

        A commit of this very message that is there already, on top of this parent, is ours: an
        earlier try whose answer was lost. Raises ConflictError when the head is another one.
        """
        from huggingface_hub import CommitOperationAdd

        if (stored := self._stored(repo, message, parent)) is not None:
            return stored
        operations = [
            CommitOperationAdd(name, str(data) if isinstance(data, Path) else data)
            for name, data in files.items()
        ]
        title, _, description = message.partition("\n")
        with translated(repo):
            done = self._api.create_commit(
                repo,
                operations,
                commit_message=title,
                commit_description=description.strip("\n"),
                parent_commit=parent,
            )
        return str(done.oid)

    def _stored(self, repo: str, message: str, parent: str | None) -> str | None:
        """The revision of a commit that is there already; None when `parent` is still the head."""
        if self.head(repo) == parent:
            return None
        wanted = _folded(message)
        for one in self.history(repo):
            if one.revision == parent:
                break
            if _folded(one.message) == wanted:
                return one.revision
        raise ConflictError(
            "somebody else has committed to the repo meanwhile",
            where=repo,
            expected=f"head {parent}",
            got=f"head {self.head(repo)}",
            remedy="run the promotion again; is another pipeline publishing to this repo?",
        )

    @_retried
    def move_tag(self, repo: str, tag: str, revision: str) -> None:
        """Make a tag point to a revision. The Hub cannot move one: it is deleted and made anew."""
        now = self.tags(repo).get(tag)
        if now == revision:
            return
        with translated(f"{repo}, tag {tag}"):
            if now is not None:
                self._api.delete_tag(repo, tag=tag)
            self._api.create_tag(repo, tag=tag, revision=revision, exist_ok=True)
        if self.tags(repo).get(tag) != revision:
            raise ConflictError(
                "the tag was moved by somebody else at the same time",
                where=f"{repo}, tag {tag}",
                expected=revision,
                got=str(self.tags(repo).get(tag)),
                remedy="see who else publishes to this repo, then run again",
            )

    @_retried
    def download(
        self, repo: str, revision: str, target: Path, patterns: Sequence[str] | None = None
    ) -> Path:
        """Fetch files of a revision (40 hex digits, never a ref) into a folder."""
        if len(revision) != 40:
            raise InputError("not a revision", where=repo, expected="40 hex digits", got=revision)
        with translated(f"{repo}@{revision}"):
            self._api.snapshot_download(
                repo,
                revision=revision,
                local_dir=target,
                allow_patterns=list(patterns) if patterns else None,
            )
        return target

    def url(self, repo: str, revision: str) -> str:
        """Where people see a revision."""
        return f"{self._api.endpoint}/{repo}/tree/{revision}"


def _folded(message: str) -> str:
    """A message without the blank lines that the Hub adds and takes away."""
    return "\n".join(line.strip() for line in message.splitlines() if line.strip())


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn the client's errors into ours, with a remedy."""
    import httpx2
    from huggingface_hub.errors import LocalTokenNotFoundError

    try:
        yield
    except WhisperRetrainError:
        raise
    except LocalTokenNotFoundError as error:
        raise InputError("no Hub token", where=where, remedy="set HF_TOKEN") from error
    # Answers are HTTPErrors too; Xet raises the builtin ConnectionError, a lost answer httpx2's.
    except (httpx2.HTTPError, OSError) as error:
        raise _from_answer(where, error) from error
    except ValueError as error:
        raise InputError("the Hub refused the request", where=where, got=_short(error)) from error


def _from_answer(where: str, error: Exception) -> Exception:
    from huggingface_hub import errors as hf

    if isinstance(error, hf.GatedRepoError):
        return InputError(
            "access to this repo is gated", where=where, remedy="ask for access on its page"
        )
    if isinstance(error, hf.RepositoryNotFoundError):
        return _not_found(where, error)
    if isinstance(error, hf.RevisionNotFoundError | hf.RemoteEntryNotFoundError):
        return InputError("no such revision or file on the Hub", where=where, got=_short(error))
    if isinstance(error, hf.HfHubHTTPError):
        return _from_status(where, error)
    return HubError("the Hub could not be reached", where=where, got=_short(error))


def _not_found(where: str, error: Exception) -> InputError:
    if "Invalid credentials" in str(error):
        return InputError("the Hub token is not valid", where=where, remedy="set HF_TOKEN")
    return InputError(
        "no such repo on the Hub, or no right to see it",
        where=where,
        remedy="check the name, and the token's rights for private repos",
    )


def _from_status(where: str, error: Any) -> Exception:
    status = error.response.status_code if error.response is not None else 0
    if status == 412:
        return ConflictError("somebody else has committed to the repo meanwhile", where=where)
    if status == 401:
        return InputError("the Hub token is not valid", where=where, remedy="set HF_TOKEN")
    if status == 403:
        return InputError(
            "the Hub token may not do this",
            where=where,
            expected="a token with the role write",
            got=_short(error),
            remedy="make a token with write access to this namespace",
        )
    if status == 429 or status >= 500 or status == 0:
        return HubError("the Hub failed", where=where, got=_short(error))
    return PermanentError("the Hub refused the request", where=where, got=_short(error))


def _short(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]

"""Reading a repository's git history: revisions, entries, commits, refs. Never writes.

Revisions are what the Hub accepts: a branch, a tag, a full ref name, or a commit id, shortened to
no less than seven digits. Knows nothing of HTTP requests or of who may read.
"""

import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dulwich.errors import NotTreeError
from dulwich.object_store import iter_tree_contents, peel_sha
from dulwich.objects import Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo as GitRepo

from loopback_hub.answers import AnswerError
from loopback_hub.lfs import MAX_POINTER_BYTES, LfsPointer

BRANCHES, TAGS = b"refs/heads/", b"refs/tags/"


@dataclass(frozen=True)
class Entry:
    """A file or folder at one commit. `size_bytes` is that of the content, never of a pointer."""

    path: str
    oid: str
    size_bytes: int
    is_folder: bool = False
    pointer: LfsPointer | None = None


def resolve(git: GitRepo, revision: str) -> Commit:
    """The commit that a revision names now; 404 RevisionNotFound when it names none."""
    name = revision.encode()
    refs = git.refs.as_dict()
    for ref in (BRANCHES + name, TAGS + name, name):
        if ref in refs and ref.startswith(b"refs/"):
            return _commit(git, refs[Ref(ref)], revision)
    if re.fullmatch(rb"[0-9a-f]{7,40}", name):
        found = list(git.object_store.iter_prefix(name))
        if len(found) == 1:
            return _commit(git, found[0], revision)
    raise AnswerError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def _commit(git: GitRepo, oid: ObjectID, revision: str) -> Commit:
    target = peel_sha(git.object_store, oid)[1]
    if not isinstance(target, Commit):
        raise AnswerError(404, f"Invalid rev id: {revision} is no commit", "RevisionNotFound")
    return target


def refs(git: GitRepo, prefix: bytes) -> list[tuple[str, str, str]]:
    """(name, full ref, commit id) of every branch or tag; annotated tags are peeled."""
    return [
        (ref.removeprefix(prefix).decode(), ref.decode(), commit_id(_commit(git, oid, "")))
        for ref, oid in sorted(git.refs.as_dict().items())
        if ref.startswith(prefix)
    ]


def commit_id(commit: Commit) -> str:
    """The 40 hex digits of a commit."""
    return commit.id.decode()


def commit_time(commit: Commit) -> str:
    """When it was committed, UTC, as the Hub writes times."""
    return hub_time(datetime.fromtimestamp(commit.commit_time, UTC))


def hub_time(moment: datetime) -> str:
    """2026-01-31T12:00:00.000Z"""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def title_and_message(commit: Commit) -> tuple[str, str]:
    """First line and the rest of a commit's message."""
    title, _, rest = commit.message.decode("utf-8", "replace").partition("\n")
    return title, rest.strip()


def author(commit: Commit) -> str:
    """The user who made a commit."""
    name: str = commit.author.decode("utf-8", "replace").partition(" <")[0]
    return name


def lineage(git: GitRepo, commit: Commit) -> Iterator[Commit]:
    """The commit and its ancestors, newest first, along first parents."""
    current: Commit | None = commit
    while current is not None:
        yield current
        current = parent(git, current)


def parent(git: GitRepo, commit: Commit) -> Commit | None:
    """The first parent, None for a root commit."""
    if not commit.parents:
        return None
    return git[commit.parents[0]]


def entries(git: GitRepo, commit: Commit, folder: str = "", recursive: bool = True) -> list[Entry]:
    """Files and folders below `folder`, sorted by path; 404 EntryNotFound when it is no folder."""
    top = _lookup(git, commit, folder)
    if top is None or not stat.S_ISDIR(top[0]):
        raise entry_not_found(folder, commit)
    if recursive:
        found: Iterable[Any] = iter_tree_contents(git.object_store, top[1], include_trees=True)
    else:
        found = git[top[1]].iteritems()
    prefix = f"{folder}/" if folder else ""
    return [
        _entry(git, prefix + item.path.decode("utf-8", "replace"), item.mode, item.sha)
        for item in found
        if item.path
    ]


def file_names(git: GitRepo, commit: Commit) -> list[str]:
    """Paths of all files, without reading them."""
    tree = iter_tree_contents(git.object_store, commit.tree)
    return [item.path.decode("utf-8", "replace") for item in tree if item.path]


def entry(git: GitRepo, commit: Commit, path: str) -> Entry | None:
    """The file or folder at one path, None when there is none."""
    found = _lookup(git, commit, path)
    return found and _entry(git, path, *found)


def entry_not_found(path: str, commit: Commit) -> AnswerError:
    """404 EntryNotFound; with X-Repo-Commit, by which the client caches the absence."""
    return AnswerError(
        404, f"{path} does not exist", "EntryNotFound", {"X-Repo-Commit": commit_id(commit)}
    )


def content(git: GitRepo, oid: str) -> bytes:
    """The bytes of a file kept in git itself."""
    return git[ObjectID(oid.encode())].data


def last_commits(git: GitRepo, head: Commit, paths: Iterable[str]) -> dict[str, Commit]:
    """For each path that exists at `head`, the latest commit in its lineage that changed it."""
    remaining, found = set(paths), {}
    for commit in lineage(git, head):
        before = parent(git, commit)
        changed = {
            path
            for path in remaining
            if before is None or _lookup(git, commit, path) != _lookup(git, before, path)
        }
        found.update(dict.fromkeys(changed, commit))
        remaining -= changed
        if not remaining:
            break
    return found


def _lookup(git: GitRepo, commit: Commit, path: str) -> tuple[int, ObjectID] | None:
    """Mode and id of what lies at a path."""
    if not path:
        return stat.S_IFDIR, commit.tree
    try:
        return git[commit.tree].lookup_path(git.object_store.__getitem__, path.encode())
    except (KeyError, NotTreeError):
        return None


def _entry(git: GitRepo, path: str, mode: int, oid: ObjectID) -> Entry:
    if stat.S_ISDIR(mode):
        return Entry(path, oid.decode(), 0, is_folder=True)
    blob = git.object_store.get_raw(oid)[1]
    pointer = LfsPointer.decode(blob) if len(blob) <= MAX_POINTER_BYTES else None
    return Entry(path, oid.decode(), pointer.size if pointer else len(blob), pointer=pointer)

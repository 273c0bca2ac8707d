"""Writing to a repository: commits, branches, tags. Every change of a ref is a compare-and-swap.

A commit's objects are written first and its branch moves last, so a killed server leaves at most
objects that nothing points to. Knows nothing of HTTP requests or of who may write.
"""

import base64
import binascii
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dulwich.errors import RefFormatError
from dulwich.index import commit_tree
from dulwich.object_store import iter_tree_contents
from dulwich.objects import Blob, Commit, ObjectID, Tag
from dulwich.refs import Ref
from dulwich.repo import Repo as GitRepo
from pydantic import BaseModel, Field

from loopback_hub import history
from loopback_hub.answers import AnswerError, bad_request
from loopback_hub.lfs import LfsPointer
from loopback_hub.repos import Repo

MAX_REGULAR_BYTES = 10 * 2**20  # the Hub's own bound on files kept in git itself
FILE_MODE = 0o100644


class Header(BaseModel):
    """First line of a commit request."""

    summary: str
    description: str = ""
    parent_commit: str | None = Field(default=None, alias="parentCommit")


class FileLine(BaseModel):
    """A small file, sent whole."""

    path: str
    content: str
    encoding: str = "base64"


class LfsLine(BaseModel):
    """A large file, uploaded before; a copy of one comes without size."""

    path: str
    oid: str
    size: int | None = None


@dataclass(frozen=True)
class PathChange:
    """One operation of a commit: put `oid` at `path`, or with none remove the file or folder."""

    path: str
    oid: ObjectID | None = None
    is_folder: bool = False


def put_file(repo: Repo, line: FileLine) -> PathChange:
    """Store a small file's bytes; nothing refers to them until the commit is made."""
    if line.encoding != "base64":
        raise bad_request(f"Encoding of {line.path} must be base64, got {line.encoding}")
    try:
        content = base64.b64decode(line.content, validate=True)
    except binascii.Error as error:
        raise bad_request(f"Content of {line.path} is not base64: {error}") from error
    if len(content) > MAX_REGULAR_BYTES:
        raise bad_request(f"{line.path} has over {MAX_REGULAR_BYTES} bytes: upload it with LFS")
    return PathChange(clean_path(line.path), _store(repo, content))


def put_lfs_file(repo: Repo, line: LfsLine) -> PathChange:
    """Point to a large file that must already be here; 400 when it isn't."""
    size = repo.lfs.size(line.oid)
    if size is None:
        raise bad_request(f"LFS object {line.oid} of {line.path} has not been uploaded")
    if line.size not in (None, size):
        raise bad_request(f"{line.path} has {size} bytes, the commit says {line.size}")
    return PathChange(clean_path(line.path), _store(repo, LfsPointer(line.oid, size).encode()))


def clean_path(path: str) -> str:
    """A path as git can hold it; 400 for one that would leave the repository or enter .git."""
    parts = path.split("/")
    if "\0" in path or any(part.lower() in ("", ".", "..", ".git") for part in parts):
        raise bad_request(f"Invalid path in repository: {path!r}")
    return path


def _store(repo: Repo, content: bytes) -> ObjectID:
    blob = Blob.from_string(content)
    with repo.lock, repo.git() as git:
        git.object_store.add_object(blob)
    return blob.id


def commit(
    repo: Repo, branch: str, header: Header, changes: Sequence[PathChange], author: str
) -> str:
    """Apply all changes as one commit and return its id.

    412 when `parent_commit` (possibly shortened) is no longer the head of the branch.
    """
    ref = Ref(history.BRANCHES + branch.removeprefix("refs/heads/").encode())
    with repo.lock, repo.git() as git:
        head = git.refs.as_dict().get(ref)
        if head is None:
            raise AnswerError(404, f"Invalid rev id: {branch} is no branch", "RevisionNotFound")
        if header.parent_commit and not head.startswith(header.parent_commit.lower().encode()):
            raise _moved()
        files = _apply(git, head, changes)
        new = _new_commit(header, author, parents=[head])
        new.tree = commit_tree(git.object_store, ((p, oid, m) for p, (m, oid) in files.items()))
        git.object_store.add_object(new)
        # The lock orders this server's writers; the swap is for a git process in the same folder.
        if not git.refs.set_if_equals(ref, head, new.id):
            raise _moved()
    return history.commit_id(new)


def first_commit(repo: Repo, attributes: str, author: str) -> None:
    """Give a new repository its main branch, holding .gitattributes, as the Hub does."""
    oid = _store(repo, attributes.encode())
    with repo.lock, repo.git() as git:
        new = _new_commit(Header(summary="initial commit"), author, parents=[])
        new.tree = commit_tree(git.object_store, [(b".gitattributes", oid, FILE_MODE)])
        git.object_store.add_object(new)
        git.refs.add_if_new(Ref(history.BRANCHES + b"main"), new.id)


def _moved() -> AnswerError:
    return AnswerError(412, "A commit has happened since. Please refresh and try again.")


def _apply(
    git: GitRepo, head: ObjectID, changes: Sequence[PathChange]
) -> dict[bytes, tuple[int, ObjectID]]:
    """Files of the new commit: those of `head` with the changes applied in order."""
    parent = history.resolve(git, head.decode())
    files = {
        item.path: (item.mode, item.sha)
        for item in iter_tree_contents(git.object_store, parent.tree)
        if item.path and item.mode and item.sha
    }
    for change in changes:
        path = change.path.encode()
        if change.oid is not None:
            files[path] = (FILE_MODE, change.oid)
            continue
        doomed = [p for p in files if p.startswith(path + b"/")] if change.is_folder else [path]
        if not doomed or doomed[0] not in files:
            raise history.entry_not_found(change.path, parent)
        for gone in doomed:
            del files[gone]
    folders = {p[:i] for p in files for i, byte in enumerate(p) if byte == ord("/")}
    if both := sorted(folders & files.keys()):
        raise bad_request(f"{both[0].decode()} cannot be both a file and a folder")
    return files


def _new_commit(header: Header, author: str, parents: list[ObjectID]) -> Commit:
    new = Commit()
    new.parents = parents
    new.author = new.committer = _person(author)
    new.author_time = new.commit_time = int(time.time())
    new.author_timezone = new.commit_timezone = 0
    new.encoding = b"UTF-8"
    new.message = f"{header.summary}\n\n{header.description}".rstrip().encode()
    return new


def _person(author: str) -> bytes:
    return f"{author} <{author}@users.noreply.localhost>".encode()


def create_ref(repo: Repo, prefix: bytes, name: str, revision: str) -> None:
    """Create a branch or a plain tag at a revision; 409 when the name is taken."""
    with repo.lock, repo.git() as git:
        _add(git, prefix, name, history.resolve(git, revision).id)


def create_annotated_tag(repo: Repo, name: str, revision: str, message: str, author: str) -> None:
    """Create a tag with a message; 409 when the name is taken."""
    with repo.lock, repo.git() as git:
        tag = Tag()
        tag.name, tag.message = name.encode(), message.encode()
        tag.object = (Commit, history.resolve(git, revision).id)
        tag.tagger, tag.tag_time, tag.tag_timezone = _person(author), int(time.time()), 0
        git.object_store.add_object(tag)
        _add(git, history.TAGS, name, tag.id)


def _add(git: GitRepo, prefix: bytes, name: str, oid: ObjectID) -> None:
    try:
        added = git.refs.add_if_new(Ref(prefix + name.encode()), oid)
    except RefFormatError as error:
        raise bad_request(f"Invalid name of a branch or tag: {name!r}") from error
    except OSError as error:  # `a` beside `a/b`: one would be both a file and a folder
        raise AnswerError(409, f"{name} conflicts with an existing branch or tag") from error
    if not added:
        raise AnswerError(409, f"Reference already exists: {(prefix + name.encode()).decode()}")


def delete_ref(repo: Repo, prefix: bytes, name: str) -> None:
    """Delete a branch or tag; 404 when there is none, 403 for the main branch."""
    ref = Ref(prefix + name.encode())
    if ref == history.BRANCHES + b"main":
        raise AnswerError(403, "The branch main cannot be deleted")
    with repo.lock, repo.git() as git:
        if ref not in git.refs.as_dict():
            raise AnswerError(404, f"Invalid rev id: {name}", "RevisionNotFound")
        git.refs.remove_if_equals(ref, None)

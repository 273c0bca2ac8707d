"""The /api routes that change files: what goes where, and the commit itself.

Handlers that block are plain functions, which Starlette runs in its thread pool.
"""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

from dulwich.objects import Commit
from dulwich.repo import Repo as GitRepo
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loopback_hub import commits, history
from loopback_hub.answers import AnswerError, bad_request, endpoint, json_body
from loopback_hub.calls import API, repo_to_write, revision
from loopback_hub.repos import Repo

MAX_LINE_BYTES = 4 * commits.MAX_REGULAR_BYTES // 3 + 2**16  # base64 of the largest regular file
LFS_SUFFIXES = (
    *(".bin", ".ckpt", ".h5", ".joblib", ".model", ".msgpack", ".npy", ".npz", ".onnx", ".pickle"),
    *(".pkl", ".pt", ".pth", ".safetensors", ".tflite"),
    *(".arrow", ".parquet", ".flac", ".mp3", ".ogg", ".wav"),
    *(".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst"),
)
ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)


async def preupload(request: Request) -> Response:
    """Say for each file whether it goes to git or to LFS, and what is there now.

    The client leaves out files whose `oid` is that of the file it has.
    """
    repo, _ = repo_to_write(request)
    files = (await json_body(request)).get("files")

    def answer() -> list[dict[str, Any]]:
        with repo.git() as git:
            commit = history.resolve(git, revision(request))
            return [_upload_mode(git, commit, file) for file in files or []]

    try:
        return JSONResponse({"files": await run_in_threadpool(answer)})
    except (KeyError, TypeError, ValueError) as error:
        raise bad_request(f"Each file needs path, size and sample in base64: {error!r}") from error


def _upload_mode(git: GitRepo, commit: Commit, file: dict[str, Any]) -> dict[str, Any]:
    path = str(file["path"])
    sample = base64.b64decode(file["sample"])
    is_large = int(file["size"]) > commits.MAX_REGULAR_BYTES
    is_lfs = is_large or path.lower().endswith(LFS_SUFFIXES) or _is_binary(sample)
    answer = {"path": path, "uploadMode": "lfs" if is_lfs else "regular", "shouldIgnore": False}
    now = history.entry(git, commit, commits.clean_path(path))
    if now is None or now.is_folder or (now.pointer is not None) != is_lfs:
        return answer
    return {**answer, "oid": now.pointer.sha256 if now.pointer else now.oid}


def _is_binary(sample: bytes) -> bool:
    """No UTF-8 text; the sample's end may cut a character of up to four bytes."""
    for cut in range(min(4, len(sample) + 1)):
        try:
            return "\0" in sample[: len(sample) - cut].decode()
        except UnicodeDecodeError:
            continue
    return True


async def commit(request: Request) -> Response:
    """Apply a stream of operations, one JSON value a line, as one commit.

    Small files go to the object store as they come, so a large commit is never whole in memory.
    """
    repo, writer = repo_to_write(request)
    if request.query_params.get("create_pr"):
        raise bad_request("Pull requests are not supported by this server")
    header, changes = None, []
    async for line in _lines(request):
        try:
            operation = json.loads(line)
            key, value = operation["key"], operation["value"]
            if key == "header":
                header = commits.Header.model_validate(value)
            else:
                changes.append(await run_in_threadpool(_change, repo, key, value))
        except (ValueError, KeyError, TypeError) as error:  # pydantic's are ValueErrors
            raise bad_request(f"Malformed operation in commit: {error!r}") from error
    if header is None:
        raise bad_request("A commit needs a header line with a summary")
    branch = revision(request)
    oid = await run_in_threadpool(commits.commit, repo, branch, header, changes, writer.user)
    url = f"{endpoint(request)}/{repo.id.web_path}/commit/{oid}"
    return JSONResponse(
        {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""},
    )


async def _lines(request: Request) -> AsyncIterator[bytes]:
    """The non-empty lines of the body."""
    buffer = bytearray()
    async for chunk in request.stream():
        searched = len(buffer)
        buffer += chunk
        while (end := buffer.find(b"\n", searched)) >= 0:
            line, searched = bytes(buffer[:end]), 0
            del buffer[: end + 1]
            if line.strip():
                yield line
        if len(buffer) > MAX_LINE_BYTES:
            raise AnswerError(413, f"A line of a commit exceeds {MAX_LINE_BYTES} bytes: use LFS")
    if buffer.strip():
        yield bytes(buffer)


def _change(repo: Repo, key: str, value: dict[str, Any]) -> commits.PathChange:
    match key:
        case "file":
            return commits.put_file(repo, commits.FileLine.model_validate(value))
        case "lfsFile":
            return commits.put_lfs_file(repo, commits.LfsLine.model_validate(value))
        case "deletedFile":
            return commits.PathChange(commits.clean_path(value["path"]))
        case "deletedFolder":
            return commits.PathChange(commits.clean_path(value["path"].rstrip("/")), is_folder=True)
        case _:
            raise bad_request(f"Unknown operation in commit: {key}")


ROUTES = [
    Route(API + "/preupload/{rev}", preupload, methods=["POST"]),
    Route(API + "/commit/{rev}", commit, methods=["POST"]),
]

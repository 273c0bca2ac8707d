"""File contents: download by `resolve`, and upload by the basic LFS transfer.

Contents stream in both directions and are never whole in memory. LFS files are sent directly, not
by a redirect: a redirect inside one origin would lose the X-Repo-Commit that the client needs.
"""

import io
import mimetypes
import secrets
import time
from typing import Any
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loopback_hub import history
from loopback_hub.answers import (
    CHUNK_BYTES,
    AnswerError,
    bad_request,
    endpoint,
    file_answer,
    json_body,
)
from loopback_hub.calls import (
    hub,
    parameter,
    repo_to_download,
    repo_to_write,
    revision,
)
from loopback_hub.lfs import Incoming, LfsPointer, sign
from loopback_hub.repos import Repo, RepoId

UPLOAD_URL_LIFETIME_S = 24 * 3600
# Files are anyone's content on the server's own origin: no browser may run them as a page.
INERT = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


def resolve(request: Request) -> Response:
    """One file at one revision; HEAD answers the headers that the client's cache is keyed by."""
    repo, path = repo_to_download(request), parameter(request, "path")
    with repo.git() as git:
        commit = history.resolve(git, revision(request))
        entry = history.entry(git, commit, path)
        if entry is None or entry.is_folder:
            raise history.entry_not_found(path, commit)
        content = b"" if entry.pointer else history.content(git, entry.oid)
    etag = f'"{entry.pointer.sha256 if entry.pointer else entry.oid}"'
    headers = {
        **INERT,
        "X-Repo-Commit": history.commit_id(commit),
        "ETag": etag,
        "Content-Type": _content_type(path),
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(path.rpartition('/')[2])}",
    }
    if entry.pointer is None:
        return file_answer(request, io.BytesIO(content), len(content), headers)
    headers |= {"X-Linked-ETag": etag, "X-Linked-Size": str(entry.size_bytes)}
    try:
        file = repo.lfs.path(entry.pointer.sha256).open("rb")
    except FileNotFoundError as error:
        raise AnswerError(500, f"LFS object {entry.pointer.sha256} of {path} is missing") from error
    return file_answer(request, file, entry.size_bytes, headers)


def _content_type(path: str) -> str:
    """Images and sounds as such, so that a card can show them; all else as text or bytes."""
    guess = mimetypes.guess_type(path)[0] or "application/octet-stream"
    if guess.startswith(("image/", "audio/")) and guess != "image/svg+xml":
        return guess
    is_text = guess.startswith("text/") or guess in ("application/json", "application/yaml")
    return "text/plain; charset=utf-8" if is_text else "application/octet-stream"


async def lfs_batch(request: Request) -> Response:
    """For each large file: a signed upload URL, or nothing to do when it is here already."""
    repo, _ = repo_to_write(request)
    body = await json_body(request)
    if body.get("operation") != "upload":
        raise bad_request("Only uploads go through LFS here: download with the Hub client")
    if body.get("hash_algo", "sha256") != "sha256":
        raise bad_request(f"LFS files are named by sha256, not by {body['hash_algo']}")
    try:
        wanted = [LfsPointer(str(o["oid"]), int(o["size"])) for o in body["objects"]]
    except (KeyError, TypeError, ValueError) as error:
        raise bad_request(f"Each LFS object needs oid and size: {error!r}") from error
    objects = [_batch_item(request, repo, pointer) for pointer in wanted]
    return JSONResponse({"transfer": "basic", "objects": objects, "hash_algo": "sha256"})


def _batch_item(request: Request, repo: Repo, wanted: LfsPointer) -> dict[str, Any]:
    item: dict[str, Any] = {"oid": wanted.sha256, "size": wanted.size, "authenticated": True}
    if repo.lfs.size(wanted.sha256) == wanted.size:
        return item
    expires = int(time.time()) + UPLOAD_URL_LIFETIME_S
    query = {"size": wanted.size, "expires": expires}
    signature = _signature(request, repo.id, wanted, expires)
    path = f"/lfs/{repo.id.kind}/{repo.id.full_name}/{wanted.sha256}"
    upload = f"{endpoint(request)}{path}?{urlencode({**query, 'signature': signature})}"
    verify = f"{endpoint(request)}/{repo.id.web_path}.git/info/lfs/objects/verify"
    return {**item, "actions": {"upload": {"href": upload}, "verify": {"href": verify}}}


def _signature(request: Request, repo_id: RepoId, file: LfsPointer, expires: int) -> str:
    parts = (repo_id.kind, repo_id.full_name, file.sha256, file.size, expires)
    return sign(hub(request).repos.secret, *parts)


async def lfs_upload(request: Request) -> Response:
    """Receive a large file at a signed URL; it exists once its size and digest have held."""
    repo, expected = _signed_target(request)
    incoming = await run_in_threadpool(Incoming, hub(request).repos.tmp, expected)
    try:
        buffer = bytearray()
        async for chunk in request.stream():
            buffer += chunk
            if len(buffer) >= CHUNK_BYTES:
                await run_in_threadpool(incoming.write, bytes(buffer))
                buffer.clear()
        await run_in_threadpool(incoming.write, bytes(buffer))
        await run_in_threadpool(incoming.keep, repo.lfs)
    finally:
        incoming.close()
    return Response(headers={"ETag": f'"{expected.sha256}"'})


def _signed_target(request: Request) -> tuple[Repo, LfsPointer]:
    """What a signed URL allows to be uploaded; 403 when it is forged or too old."""
    path, query = request.path_params, request.query_params
    try:
        file = LfsPointer(path["oid"], int(query["size"]))
        expires, repo_id = int(query["expires"]), RepoId(path["kind"], path["ns"], path["name"])
    except (KeyError, ValueError) as error:
        raise AnswerError(403, f"Not a signed upload URL: {error!r}") from error
    expected = _signature(request, repo_id, file, expires)
    if not secrets.compare_digest(query.get("signature", ""), expected):
        raise AnswerError(403, "The signature of the upload URL is wrong")
    if expires < time.time():
        raise AnswerError(403, "The upload URL has expired: start the upload again")
    repo = hub(request).repos.find(repo_id)
    if repo is None:
        raise AnswerError(404, "Repository not found", "RepoNotFound")
    return repo, file


async def lfs_verify(request: Request) -> Response:
    """Confirm that an uploaded file is here with the size that the client thinks."""
    repo, _ = repo_to_write(request)
    body = await json_body(request)
    size = repo.lfs.size(str(body.get("oid")))
    if size is None or size != body.get("size"):
        raise AnswerError(
            404, f"LFS object {body.get('oid')} with {body.get('size')} bytes not found"
        )
    return JSONResponse({"ok": True})


ROUTES = [
    Route("/lfs/{kind}/{ns}/{name}/{oid}", lfs_upload, methods=["PUT"]),
    *(
        route
        for repo in ("/datasets/{ns}/{name}", "/{ns}/{name}")
        for route in (
            Route(repo + "/resolve/{rev}/{path:path}", resolve),
            Route(repo + "/info/lfs/objects/batch", lfs_batch, methods=["POST"]),
            Route(repo + "/info/lfs/objects/verify", lfs_verify, methods=["POST"]),
        )
    ),
]

"""The /api routes for accounts, for repositories as wholes, and for branches and tags.

Handlers that block are plain functions, which Starlette runs in its thread pool.
"""

from typing import Any

from dulwich.repo import Repo as GitRepo
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loopback_hub import access, cards, commits, history, upload
from loopback_hub.answers import AnswerError, bad_request, endpoint, json_body
from loopback_hub.calls import (
    API,
    caller,
    hub,
    parameter,
    repo_not_found,
    repo_to_download,
    repo_to_read,
    repo_to_write,
    revision,
)
from loopback_hub.repos import RepoId, RepoSettings


def whoami(request: Request) -> Response:
    """The holder of the token."""
    identity = caller(request)
    if identity is None:
        raise AnswerError(401, "Invalid username or password.")
    orgs = [
        {"type": "org", "name": org, "fullname": org, "roleInOrg": identity.role}
        for org in identity.orgs
    ]
    token = {"displayName": f"{identity.user} ({identity.role})", "role": identity.role}
    return JSONResponse(
        {
            "type": "user",
            "id": RepoId("models", identity.user, "account").object_id,
            "name": identity.user,
            "fullname": identity.user,
            "orgs": orgs,
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


def _target(request: Request, body: dict[str, Any]) -> tuple[RepoId, access.Identity]:
    """The repository that a create or delete request names, and the writer who may do it."""
    identity = caller(request)
    namespace = str(body.get("organization") or (identity.user if identity else ""))
    writer = access.require_writer(identity, namespace)
    kind = f"{body.get('type') or 'model'}s"
    return RepoId(kind, namespace, str(body.get("name"))), writer


def _settings(old: RepoSettings, body: dict[str, Any]) -> RepoSettings:
    """Apply `visibility` and `gated` of a request."""
    change: dict[str, Any] = {key: body[key] for key in ("gated", "private") if key in body}
    if "visibility" in body:
        if body["visibility"] not in ("public", "private"):
            raise bad_request(f"visibility must be public or private, got {body['visibility']}")
        change["private"] = body["visibility"] == "private"
    try:
        return RepoSettings.model_validate(old.model_dump() | change)
    except ValidationError as error:
        raise bad_request(f"Invalid settings: {error}") from error


async def create_repo(request: Request) -> Response:
    """Create a repository with one commit; 409 when it exists, on which exist_ok relies."""
    body = await json_body(request)
    repo_id, writer = _target(request, body)
    settings = _settings(RepoSettings(), body)
    url = f"{endpoint(request)}/{repo_id.web_path}"

    def create() -> None:
        repos = hub(request).repos
        if repos.find(repo_id):
            raise AnswerError(409, f"You already created this repo: {repo_id.full_name}", url=url)
        draft = repos.draft(repo_id, settings)
        commits.first_commit(draft, upload.ATTRIBUTES, writer.user)
        repos.publish(draft)

    await run_in_threadpool(create)
    return JSONResponse({"url": url, "name": repo_id.full_name, "id": repo_id.object_id})


async def delete_repo(request: Request) -> Response:
    """Delete a repository with all that it holds."""
    repo_id, writer = _target(request, await json_body(request))
    repo = hub(request).repos.find(repo_id)
    if repo is None:
        raise repo_not_found(writer)
    await run_in_threadpool(hub(request).repos.delete, repo)
    return JSONResponse({"ok": True})


async def change_settings(request: Request) -> Response:
    """Change visibility or gating."""
    repo, _ = repo_to_write(request)
    settings = _settings(repo.settings(), await json_body(request))
    hub(request).repos.change(repo, settings)
    return JSONResponse({"private": settings.private, "gated": settings.gated})


async def validate_yaml(request: Request) -> Response:
    """Check a card before it is uploaded; the client shows warnings and raises errors."""
    content = str((await json_body(request)).get("content", ""))
    try:
        data = cards.card_data(content)
    except ValueError as error:
        return _refused([str(error)])
    if faults := cards.metadata_faults(data):
        return _refused(faults)
    empty = "empty or missing yaml metadata in repo card"
    return JSONResponse({"errors": [], "warnings": [] if data else [{"message": empty}]})


def _refused(faults: list[str]) -> Response:
    return JSONResponse({"errors": [{"message": fault} for fault in faults], "warnings": []}, 400)


def refs(request: Request) -> Response:
    """Branches and tags with the commits they point to."""
    repo = repo_to_read(request)

    def shown(git: GitRepo, prefix: bytes) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": ref, "targetCommit": commit}
            for name, ref, commit in history.refs(git, prefix)
        ]

    with repo.git() as git:
        answer = {"branches": shown(git, history.BRANCHES), "tags": shown(git, history.TAGS)}
    return JSONResponse({**answer, "converts": [], "pullRequests": []})


async def create_branch(request: Request) -> Response:
    """Create a branch at `startingPoint`, or at main."""
    repo, _ = repo_to_write(request)
    start = str((await json_body(request)).get("startingPoint") or "main")
    branch = parameter(request, "branch")
    await run_in_threadpool(commits.create_ref, repo, history.BRANCHES, branch, start)
    return JSONResponse({"ok": True}, 201)


def delete_branch(request: Request) -> Response:
    """Delete a branch other than main."""
    commits.delete_ref(repo_to_write(request)[0], history.BRANCHES, parameter(request, "branch"))
    return JSONResponse({"ok": True})


async def create_tag(request: Request) -> Response:
    """Create a tag at the revision of the path; annotated when a message is given."""
    repo, writer = repo_to_write(request)
    body = await json_body(request)
    tag, message = str(body.get("tag") or ""), body.get("message")
    if message:
        create = commits.create_annotated_tag
        await run_in_threadpool(create, repo, tag, revision(request), str(message), writer.user)
    else:
        await run_in_threadpool(commits.create_ref, repo, history.TAGS, tag, revision(request))
    return JSONResponse({"ok": True})


def delete_tag(request: Request) -> Response:
    """Delete a tag."""
    commits.delete_ref(repo_to_write(request)[0], history.TAGS, parameter(request, "rev"))
    return JSONResponse({"ok": True})


def auth_check(request: Request) -> Response:
    """Whether the caller may download."""
    repo_to_download(request)
    return JSONResponse({"ok": True})


ROUTES = [
    Route("/api/whoami-v2", whoami),
    Route("/api/repos/create", create_repo, methods=["POST"]),
    Route("/api/repos/delete", delete_repo, methods=["DELETE"]),
    Route("/api/validate-yaml", validate_yaml, methods=["POST"]),
    Route(API + "/settings", change_settings, methods=["PUT"]),
    Route(API + "/auth-check", auth_check),
    Route(API + "/refs", refs),
    Route(API + "/branch/{branch}", create_branch, methods=["POST"]),
    Route(API + "/branch/{branch}", delete_branch, methods=["DELETE"]),
    Route(API + "/tag/{rev}", create_tag, methods=["POST"]),
    Route(API + "/tag/{rev}", delete_tag, methods=["DELETE"]),
]

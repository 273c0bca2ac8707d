"""What every route needs from a request: the repository it names, and the caller's right to it.

The error answers tell a caller without rights nothing about whether a private repository exists.
"""

from dataclasses import dataclass
from urllib.parse import unquote

from starlette.requests import Request

from loopback_hub import access
from loopback_hub.answers import AnswerError
from loopback_hub.repos import Repo, RepoId, Repos

API = "/api/{kind}/{ns}/{name}"  # the prefix of every route over one repository


@dataclass(frozen=True)
class HubState:
    """What the server holds while it runs."""

    repos: Repos
    tokens: access.Tokens


def hub(request: Request) -> HubState:
    """The server's state."""
    state: HubState = request.app.state.hub
    return state


def caller(request: Request) -> access.Identity | None:
    """Who is calling; None without a token; 401 with a wrong one."""
    return access.identify(request.headers.get("authorization"), hub(request).tokens)


def parameter(request: Request, name: str) -> str:
    """A part of the path, decoded here and not before: a `%2F` in it separates nothing."""
    return unquote(str(request.path_params[name]))


def revision(request: Request) -> str:
    """The revision in the path, or the main branch."""
    return parameter(request, "rev") if "rev" in request.path_params else "main"


def repo_to_read(request: Request) -> Repo:
    """The repository of the path, if the caller may see it: 401 or 404 RepoNotFound otherwise."""
    identity, repo = caller(request), None
    try:
        repo = hub(request).repos.find(_repo_id(request))
    except AnswerError as invalid_name:
        raise repo_not_found(identity) from invalid_name
    if repo is None or (repo.settings().private and not is_member(identity, repo)):
        raise repo_not_found(identity)
    return repo


def repo_to_download(request: Request) -> Repo:
    """As `repo_to_read`, for its files: those of a gated repository are for members only."""
    repo, identity = repo_to_read(request), caller(request)
    if repo.settings().gated and not is_member(identity, repo):
        message = f"Access to {repo.id.kind.removesuffix('s')} {repo.id.full_name} is restricted"
        raise AnswerError(403 if identity else 401, message, "GatedRepo")
    return repo


def repo_to_write(request: Request) -> tuple[Repo, access.Identity]:
    """The repository of the path and who writes to it: 401 or 403 without the right."""
    repo = repo_to_read(request)
    return repo, access.require_writer(caller(request), repo.id.namespace)


def repo_not_found(identity: access.Identity | None) -> AnswerError:
    """Missing, or hidden from this caller: the answer is the same."""
    message = "Repository not found" if identity else "Invalid username or password."
    return AnswerError(404 if identity else 401, message, "RepoNotFound")


def is_member(identity: access.Identity | None, repo: Repo) -> bool:
    """Whether the caller belongs to the repository's namespace."""
    return identity is not None and identity.belongs_to(repo.id.namespace)


def _repo_id(request: Request) -> RepoId:
    """API paths say `models` or `datasets`; web paths begin with `datasets/` or the namespace."""
    path = request.path_params
    kind = path.get("kind") or (
        "datasets" if request.url.path.startswith("/datasets/") else "models"
    )
    return RepoId(kind, unquote(path["ns"]), unquote(path["name"]).removesuffix(".git"))

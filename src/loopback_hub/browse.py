"""The /api routes that read a repository: information, trees, paths, the history.

Handlers that block are plain functions, which Starlette runs in its thread pool.
"""

from typing import Any

from dulwich.objects import Commit
from dulwich.repo import Repo as GitRepo
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loopback_hub import cards, history
from loopback_hub.answers import page
from loopback_hub.calls import (
    API,
    caller,
    hub,
    is_member,
    parameter,
    repo_to_download,
    repo_to_read,
    revision,
)
from loopback_hub.history import Entry
from loopback_hub.repos import KINDS, Repo

PAGE_ENTRIES, PAGE_COMMITS, PAGE_REPOS = 1000, 50, 1000


def repo_info(request: Request) -> Response:
    """Everything about a repository at one revision; with `expand`, only the fields named."""
    repo = repo_to_read(request)
    query = request.query_params
    with repo.git() as git:
        commit = history.resolve(git, revision(request))
        info = _info(repo, git, commit, with_blobs=query.get("blobs", "").lower() == "true")
    wanted = query.getlist("expand") + query.getlist("expand[]")
    if wanted:
        info = {key: info[key] for key in ("_id", "id", *wanted) if key in info}
    return JSONResponse(info)


def list_repos(request: Request) -> Response:
    """The repositories that the caller may see, filtered, sorted, a page at a time.

    Filters are those of list_models and list_datasets that mean something here: author, search,
    filter (tags), pipeline_tag, gated; sorted by lastModified, createdAt or name.
    """
    query = request.query_params
    infos = [info for info in map(_listed, _visible(request)) if _matches(info, query)]
    sort = query.get("sort", "")
    if sort in ("lastModified", "createdAt"):
        infos.sort(key=lambda info: str(info[sort]), reverse=True)
    shown, link = page(request, infos, PAGE_REPOS)
    if wanted := query.getlist("expand") + query.getlist("expand[]"):
        shown = [{k: info[k] for k in ("_id", "id", *wanted) if k in info} for info in shown]
    elif query.get("full", "").lower() != "true":
        brief = ("sha", "lastModified", "siblings", "cardData")
        shown = [{k: v for k, v in info.items() if k not in brief} for info in shown]
    return JSONResponse(list(shown), headers={"Link": link} if link else None)


def _visible(request: Request) -> list[Repo]:
    kind, identity = request.url.path.rpartition("/")[2], caller(request)
    return [
        repo
        for repo in hub(request).repos.all()
        if repo.id.kind == kind and (not repo.settings().private or is_member(identity, repo))
    ]


def _listed(repo: Repo) -> dict[str, Any]:
    with repo.git() as git:
        return _info(repo, git, history.resolve(git, "main"), with_blobs=False)


def _matches(info: dict[str, Any], query: QueryParams) -> bool:
    gated = query.get("gated", "").lower()
    return (
        query.get("author") in (None, info["author"])
        and query.get("search", "").lower() in info["id"].lower()
        and set(query.getlist("filter")) <= set(info["tags"])
        and query.get("pipeline_tag") in (None, info["pipeline_tag"])
        and (not gated or (gated == "true") == bool(info["gated"]))
    )


def _info(repo: Repo, git: GitRepo, commit: Commit, with_blobs: bool) -> dict[str, Any]:
    settings, names = repo.settings(), history.file_names(git, commit)
    try:
        card = cards.card_data(card_text(git, commit))
    except ValueError:
        card = {}  # a card that bypassed validation must not make the repository unreadable
    siblings: list[dict[str, Any]] = [{"rfilename": name} for name in names]
    if with_blobs:
        files = (entry for entry in history.entries(git, commit) if not entry.is_folder)
        siblings = [_sibling(entry) for entry in files]
    return {
        "_id": repo.id.object_id,
        "id": repo.id.full_name,
        **({"modelId": repo.id.full_name} if repo.id.kind == "models" else {}),
        "author": repo.id.namespace,
        "sha": history.commit_id(commit),
        "lastModified": history.commit_time(commit),
        "createdAt": history.hub_time(settings.created_at),
        "private": settings.private,
        "gated": settings.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": cards.card_tags(card),
        "pipeline_tag": card.get("pipeline_tag"),
        "library_name": card.get("library_name"),
        "model-index": card.get("model-index"),
        "cardData": card or None,
        "siblings": siblings,
    }


def card_text(git: GitRepo, commit: Commit) -> str:
    """README.md at a commit, "" when there is none."""
    card = history.entry(git, commit, "README.md")
    if card is None or card.is_folder or card.pointer:
        return ""
    return history.content(git, card.oid).decode("utf-8", "replace")


def _sibling(entry: Entry) -> dict[str, Any]:
    shown: dict[str, Any] = {"rfilename": entry.path, "size": entry.size_bytes, "blobId": entry.oid}
    if entry.pointer:
        lfs = {"sha256": entry.pointer.sha256, "size": entry.pointer.size}
        shown["lfs"] = {**lfs, "pointerSize": len(entry.pointer.encode())}
    return shown


def tree(request: Request) -> Response:
    """Files and folders below a path, a page at a time."""
    repo, query = repo_to_download(request), request.query_params
    folder = parameter(request, "path").strip("/") if "path" in request.path_params else ""
    with repo.git() as git:
        commit = history.resolve(git, revision(request))
        recursive = query.get("recursive", "").lower() in ("true", "1")
        found = history.entries(git, commit, folder, recursive)
        shown, link = page(request, found, PAGE_ENTRIES)
        expand = query.get("expand", "").lower() in ("true", "1")
        items = [_item(git, commit, entry, expand) for entry in shown]
    return JSONResponse(items, headers={"Link": link} if link else None)


async def paths_info(request: Request) -> Response:
    """The same for paths named in a form; those that don't exist are left out."""
    repo = repo_to_download(request)
    form = await request.form()
    paths = [str(path) for path in form.getlist("paths")]
    expand = str(form.get("expand", "")).lower() == "true"

    def look_up() -> list[dict[str, Any]]:
        with repo.git() as git:
            commit = history.resolve(git, revision(request))
            found = (history.entry(git, commit, path.strip("/")) for path in paths)
            return [_item(git, commit, entry, expand) for entry in found if entry and entry.path]

    return JSONResponse(await run_in_threadpool(look_up))


def _item(git: GitRepo, commit: Commit, entry: Entry, expand: bool) -> dict[str, Any]:
    item: dict[str, Any] = {
        "type": "directory" if entry.is_folder else "file",
        "oid": entry.oid,
        "size": entry.size_bytes,
        "path": entry.path,
    }
    if entry.pointer:
        lfs = {"oid": entry.pointer.sha256, "size": entry.pointer.size}
        item["lfs"] = {**lfs, "pointerSize": len(entry.pointer.encode())}
    if expand:
        last = history.last_commits(git, commit, [entry.path])[entry.path]
        item["lastCommit"] = {
            "id": history.commit_id(last),
            "title": history.title_and_message(last)[0],
            "date": history.commit_time(last),
        }
    return item


def list_commits(request: Request) -> Response:
    """The history of a revision, newest first, a page at a time."""
    repo = repo_to_read(request)
    with repo.git() as git:
        found = list(history.lineage(git, history.resolve(git, revision(request))))
    shown, link = page(request, found, PAGE_COMMITS)
    return JSONResponse([_commit_item(c) for c in shown], headers={"Link": link} if link else None)


def _commit_item(commit: Commit) -> dict[str, Any]:
    title, message = history.title_and_message(commit)
    return {
        "id": history.commit_id(commit),
        "title": title,
        "message": message,
        "authors": [{"user": history.author(commit)}],
        "date": history.commit_time(commit),
    }


ROUTES = [
    *(Route(f"/api/{kind}", list_repos) for kind in KINDS),
    Route(API, repo_info),
    Route(API + "/revision/{rev}", repo_info),
    Route(API + "/tree/{rev}", tree),
    Route(API + "/tree/{rev}/{path:path}", tree),
    Route(API + "/paths-info/{rev}", paths_info, methods=["POST"]),
    Route(API + "/commits/{rev}", list_commits),
]

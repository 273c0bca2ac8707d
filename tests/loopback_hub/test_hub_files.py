"""Files on the Hub server: commits, uploads and downloads with the real client."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx2 as httpx
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import BadRequestError, EntryNotFoundError, HfHubHTTPError

from tests.fixtures.hub import HubServer


@pytest.fixture
def api(hub_server: HubServer) -> HfApi:
    """A client with the write token."""
    return hub_server.api()


@pytest.fixture
def repo(hub_server: HubServer) -> str:
    """An empty model repository."""
    return hub_server.new_repo()


def add(api: HfApi, repo: str, **files: bytes) -> str:
    """Commit files, named by their keys, and return the new revision."""
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(repo, operations, commit_message="add").oid


def read(hub_server: HubServer, repo: str, path: str, revision: str = "main") -> bytes:
    """A file as it is on the server now, past any cache."""
    url = f"{hub_server.endpoint}/{repo}/resolve/{revision}/{path}"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {hub_server.token}"})
    answer.raise_for_status()
    return bytes(answer.content)


def test_small_text_goes_to_git_and_weights_to_lfs(hub_server: HubServer, api: HfApi) -> None:
    repo, weights = hub_server.new_repo(), os.urandom(300_000)
    add(api, repo, **{"config.json": b"{}", "model.safetensors": weights, "picture.png": b"\0\1"})
    found = {item.path: item for item in api.get_paths_info(repo, ["config.json", "picture.png"])}
    assert found["config.json"].lfs is None
    assert found["picture.png"].lfs is not None, "binary, whatever it is called"
    model = api.get_paths_info(repo, "model.safetensors")[0]
    assert model.lfs.sha256 == hashlib.sha256(weights).hexdigest()
    assert read(hub_server, repo, "model.safetensors") == weights


def test_an_empty_file_and_a_name_beyond_ascii(
    hub_server: HubServer, api: HfApi, repo: str, tmp_path: Path
) -> None:
    name = "ordner mit %2F & ü/leer?.bin"
    add(api, repo, **{name: b"", "empty.txt": b""})
    path = hf_hub_download(
        repo, name, endpoint=hub_server.endpoint, token=hub_server.token, cache_dir=tmp_path
    )
    assert Path(path).read_bytes() == b""
    assert name in api.list_repo_files(repo)


def test_utf8_that_is_cut_by_the_sample_is_still_text(api: HfApi, repo: str) -> None:
    add(api, repo, **{"notes.md": b"x" * 511 + "ü".encode() * 100})
    assert api.get_paths_info(repo, "notes.md")[0].lfs is None


def test_upload_folder_replaces_what_delete_patterns_match(
    hub_server: HubServer, api: HfApi, repo: str, tmp_path: Path
) -> None:
    add(api, repo, **{"old-1.txt": b"1", "old-2.txt": b"2", "keep.txt": b"k"})
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "new.txt").write_text("new")
    (tmp_path / "w.bin").write_bytes(b"\0" * 1000)
    api.upload_folder(repo_id=repo, folder_path=tmp_path, delete_patterns="old-*")
    files = {".gitattributes", "keep.txt", "sub/new.txt", "w.bin"}
    assert set(api.list_repo_files(repo)) == files
    assert read(hub_server, repo, "sub/new.txt") == b"new"


def test_copy_move_and_delete_in_one_commit(hub_server: HubServer, api: HfApi, repo: str) -> None:
    weights = os.urandom(2000)
    first = add(api, repo, **{"a/w.bin": weights, "a/t.txt": b"text", "b.txt": b"b"})
    api.create_commit(
        repo,
        [
            CommitOperationCopy("a/w.bin", "moved.bin"),
            CommitOperationCopy("a/t.txt", "moved.txt"),
            CommitOperationDelete("a/"),
            CommitOperationDelete("b.txt"),
        ],
        commit_message="move",
        parent_commit=first,
    )
    assert set(api.list_repo_files(repo)) == {".gitattributes", "moved.bin", "moved.txt"}
    assert read(hub_server, repo, "moved.bin") == weights
    assert read(hub_server, repo, "a/t.txt", first) == b"text", "history keeps it"


@pytest.mark.parametrize("path", ["nope.txt", "nope/"])
def test_deleting_what_is_not_there_is_an_error(api: HfApi, repo: str, path: str) -> None:
    with pytest.raises(EntryNotFoundError):
        api.create_commit(repo, [CommitOperationDelete(path)], commit_message="delete")


def test_a_path_cannot_be_both_file_and_folder(api: HfApi, repo: str) -> None:
    add(api, repo, **{"a": b"file"})
    with pytest.raises(BadRequestError, match="both a file and a folder"):
        add(api, repo, **{"a/b": b"below it"})
    assert set(api.list_repo_files(repo)) == {".gitattributes", "a"}


@pytest.mark.parametrize("path", ["../up", "a/../../up", "/abs", ".git/config", "a//b", "", "a\0b"])
def test_paths_that_leave_the_repository_are_refused(
    hub_server: HubServer, repo: str, path: str
) -> None:
    lines = [
        {"key": "header", "value": {"summary": "evil"}},
        {"key": "file", "value": {"path": path, "content": "eA==", "encoding": "base64"}},
    ]
    assert commit_raw(hub_server, repo, *lines).status_code == 400


def commit_raw(hub_server: HubServer, repo: str, *lines: dict[str, object]) -> httpx.Response:
    """A commit as the client would not send it."""
    return httpx.post(
        f"{hub_server.endpoint}/api/models/{repo}/commit/main",
        content="\n".join(map(json.dumps, lines)),
        headers={"Authorization": f"Bearer {hub_server.token}"},
    )


def test_malformed_commits_are_refused_and_change_nothing(
    hub_server: HubServer, api: HfApi, repo: str
) -> None:
    header = {"key": "header", "value": {"summary": "s"}}
    missing_lfs = {"path": "w.bin", "algo": "sha256", "oid": "0" * 64, "size": 3}
    for lines in (
        [],
        [{"key": "file", "value": {"path": "x", "content": "eA==", "encoding": "base64"}}],
        [header, {"key": "file", "value": {"path": "x", "content": "not base64"}}],
        [header, {"key": "lfsFile", "value": missing_lfs}],
        [header, {"key": "lfsFile", "value": {**missing_lfs, "oid": "../../hub.json"}}],
        [header, {"key": "chmod", "value": {"path": "x"}}],
        [header, {"value": 1}],
    ):
        assert commit_raw(hub_server, repo, *lines).status_code == 400, lines
    assert api.list_repo_files(repo) == [".gitattributes"]


def test_a_regular_file_over_ten_mebibytes_is_refused(hub_server: HubServer, repo: str) -> None:
    content = "QUFB" * (12 * 2**20 // 3)
    lines = [
        {"key": "header", "value": {"summary": "large"}},
        {"key": "file", "value": {"path": "x.txt", "content": content, "encoding": "base64"}},
    ]
    assert commit_raw(hub_server, repo, *lines).status_code in (400, 413)


def test_unchanged_files_make_no_commit(api: HfApi, repo: str) -> None:
    files = {"t.txt": b"text", "w.bin": b"\0" * 600}
    first = add(api, repo, **files)
    assert add(api, repo, **files) == first
    assert len(api.list_repo_commits(repo)) == 2


def test_a_commit_on_a_stale_parent_is_refused(api: HfApi, repo: str) -> None:
    stale = str(api.model_info(repo).sha)
    head = add(api, repo, one=b"1")
    for parent in (stale, stale[:7]):
        with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
            api.create_commit(
                repo, [CommitOperationAdd("two", b"2")], commit_message="s", parent_commit=parent
            )
        assert error.value.response.status_code == 412
    done = api.create_commit(
        repo, [CommitOperationAdd("two", b"2")], commit_message="s", parent_commit=head[:7]
    )
    assert done.commit_url.endswith(f"/{repo}/commit/{done.oid}")


def test_of_parallel_commits_on_one_parent_one_wins(api: HfApi, repo: str) -> None:
    racers, parent = 6, str(api.model_info(repo).sha)
    barrier = Barrier(racers)

    def race(n: int) -> int:
        barrier.wait()
        try:
            api.create_commit(
                repo,
                [CommitOperationAdd(f"{n}.bin", b"\0same weights")],
                commit_message=f"racer {n}",
                parent_commit=parent,
            )
        except HfHubHTTPError as error:
            return error.response.status_code
        return 200

    with ThreadPoolExecutor(racers) as pool:
        statuses = sorted(pool.map(race, range(racers)))
    assert statuses == [200, *[412] * (racers - 1)]
    assert len(api.list_repo_files(repo)) == 2
    assert len(api.list_repo_commits(repo)) == 2


def test_parallel_commits_without_a_parent_all_land(api: HfApi, repo: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: add(api, repo, **{f"{n}.txt": b"same"}), range(6)))
    assert len(api.list_repo_files(repo)) == len(api.list_repo_commits(repo)) == 7


def test_of_parallel_tags_of_one_name_one_wins(api: HfApi, repo: str) -> None:
    def race(n: int) -> int:
        try:
            api.create_tag(repo, tag="champion", tag_message=f"{n}")
        except HfHubHTTPError as error:
            return error.response.status_code
        return 200

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(race, range(6))) == [200, *[409] * 5]


def test_snapshot_of_a_tag_holds_the_files_of_its_revision(
    hub_server: HubServer, api: HfApi, repo: str, tmp_path: Path
) -> None:
    weights = os.urandom(100_000)
    first = add(api, repo, **{"a/t.txt": b"one", "w.safetensors": weights})
    api.create_tag(repo, tag="release/1")
    add(api, repo, **{"a/t.txt": b"two"})
    for revision in ("release/1", first):
        folder = Path(
            snapshot_download(
                repo,
                revision=revision,
                endpoint=hub_server.endpoint,
                token=hub_server.token,
                cache_dir=tmp_path / revision,
            )
        )
        assert folder.name == first, "the cache is keyed by revision"
        assert (folder / "a/t.txt").read_bytes() == b"one"
        assert (folder / "w.safetensors").read_bytes() == weights


def test_headers_by_which_the_client_caches(hub_server: HubServer, api: HfApi, repo: str) -> None:
    weights = b"\0" * 1000
    revision = add(api, repo, **{"t.txt": b"text", "w.bin": weights})
    blobs = {item.path: item.blob_id for item in api.get_paths_info(repo, ["t.txt", "w.bin"])}
    base = f"{hub_server.endpoint}/{repo}/resolve/main"
    text, large = httpx.head(f"{base}/t.txt").headers, httpx.head(f"{base}/w.bin").headers
    assert text["x-repo-commit"] == large["x-repo-commit"] == revision
    assert text["etag"] == f'"{blobs["t.txt"]}"'
    assert (text["content-length"], large["content-length"]) == ("4", "1000")
    assert large["x-linked-etag"] == f'"{hashlib.sha256(weights).hexdigest()}"'
    assert large["x-linked-size"] == "1000"


CONTENT = bytes(range(250)) * 4  # 1000 bytes; binary, so LFS when named so


@pytest.mark.parametrize("path", ["in-lfs.bin", "in-git.txt"])
@pytest.mark.parametrize(
    ("header", "status", "slice_"),
    [  # RFC 9110, section 14
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=10-19", 206, slice(10, 20)),
        ("bytes=990-", 206, slice(990, None)),
        ("bytes=-10", 206, slice(990, None)),
        ("bytes=-5000", 206, slice(0, None)),
        ("bytes=990-5000", 206, slice(990, None)),
        ("bytes=20-10", 200, slice(0, None)),
        ("bytes=0-1,5-6", 200, slice(0, None)),
        ("lines=1-2", 200, slice(0, None)),
        ("bytes=1000-", 416, None),
        ("bytes=-0", 416, None),
    ],
)
def test_ranges(
    ranged_repo: str, hub_server: HubServer, path: str, header: str, status: int, slice_: slice
) -> None:
    content = CONTENT if path.endswith("bin") else b"0123456789" * 100
    url = f"{hub_server.endpoint}/{ranged_repo}/resolve/main/{path}"
    answer = httpx.get(url, headers={"Range": header})
    assert answer.status_code == status
    if status == 416:
        assert answer.headers["content-range"] == "bytes */1000"
        return
    assert answer.content == content[slice_]
    if status == 206:
        start = slice_.start
        last = start + len(answer.content) - 1
        assert answer.headers["content-range"] == f"bytes {start}-{last}/1000"
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.fixture(scope="module")
def ranged_repo(hub_server: HubServer) -> str:
    """A repository with 1000 bytes in git and 1000 in LFS."""
    repo = hub_server.new_repo()
    add(hub_server.api(), repo, **{"in-lfs.bin": CONTENT, "in-git.txt": b"0123456789" * 100})
    return repo


def test_a_range_of_another_version_is_not_sent(hub_server: HubServer, ranged_repo: str) -> None:
    url = f"{hub_server.endpoint}/{ranged_repo}/resolve/main/in-lfs.bin"
    stale = httpx.get(url, headers={"Range": "bytes=10-19", "If-Range": '"another"'})
    assert (stale.status_code, stale.content) == (200, CONTENT)
    etag = stale.headers["etag"]
    fresh = httpx.get(url, headers={"Range": "bytes=10-19", "If-Range": etag})
    assert (fresh.status_code, fresh.content) == (206, CONTENT[10:20])


def test_filesystem_view(hub_server: HubServer, api: HfApi, repo: str) -> None:
    add(api, repo, **{"a/t.txt": b"text", "w.bin": CONTENT})
    fs = HfFileSystem(endpoint=hub_server.endpoint, token=hub_server.token)
    assert {Path(path).name for path in fs.ls(repo, detail=False)} == {
        ".gitattributes",
        "a",
        "w.bin",
    }
    assert fs.read_text(f"{repo}/a/t.txt") == "text"
    with fs.open(f"{repo}/w.bin", block_size=64) as file:
        file.seek(500)
        assert file.read(10) == CONTENT[500:510]

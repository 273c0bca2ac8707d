"""The Hub server under faults: killed in the middle, lied to, out of disk, started twice."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download

from loopback_hub.lfs import sign
from tests.fixtures.hub import HubServer

LARGE = os.urandom(4_000_000)


class StallingFile(io.BytesIO):
    """A file whose reading stops after a million bytes until it is released."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.armed, self.released = False, threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        """Read, or wait."""
        if self.armed and self.tell() > 1_000_000:
            assert self.released.wait(30)
        return super().read(size)


def lfs_files(server: HubServer) -> list[str]:
    """Names of all large files that the server holds."""
    return [path.name for path in server.data.glob("*/*/*/lfs/*/*/*")]


def wait_for_upload(server: HubServer) -> None:
    """Wait until the server is receiving a large file."""
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 0 for path in (server.data / "tmp").glob("lfs-*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def restart(server: HubServer) -> None:
    """Start again where it was, as the stack's supervisor does."""
    server.start(port=int(server.endpoint.rpartition(":")[2]))


def test_kill_in_mid_upload_leaves_nothing_and_the_client_finishes_after_a_restart(
    own_hub_server: HubServer, tmp_path: Path
) -> None:
    server, api = own_hub_server, own_hub_server.api()
    repo, file = server.new_repo(), StallingFile(LARGE)
    operation = CommitOperationAdd("model.safetensors", file)
    file.armed = True
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(api.create_commit, repo, [operation], commit_message="weights")
        wait_for_upload(server)
        server.kill()
        assert lfs_files(server) == [], "an unfinished file must not be visible"
        restart(server)
        assert list((server.data / "tmp").iterdir()) == [], "leftovers are swept at start"
        assert api.list_repo_files(repo) == [".gitattributes"]
        file.released.set()
        done = upload.result(timeout=60)
    assert lfs_files(server) == [hashlib.sha256(LARGE).hexdigest()]
    path = hf_hub_download(
        repo,
        "model.safetensors",
        revision=done.oid,
        endpoint=server.endpoint,
        token=server.token,
        cache_dir=tmp_path / "cache",
    )
    assert Path(path).read_bytes() == LARGE


def test_a_client_that_dies_in_mid_upload_leaves_nothing(own_hub_server: HubServer) -> None:
    server = own_hub_server
    href = upload_url(server, server.new_repo(), LARGE)

    def half() -> object:
        yield LARGE[:2_000_000]
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        httpx.put(href, content=half(), headers={"Content-Length": str(len(LARGE))})
    deadline = time.monotonic() + 60
    while list((server.data / "tmp").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert lfs_files(server) == []
    assert httpx.put(href, content=LARGE).status_code == 200


def test_kill_between_commits_loses_none_that_was_answered(own_hub_server: HubServer) -> None:
    server, api = own_hub_server, own_hub_server.api()
    repo, answered = server.new_repo(), []

    def write_until_it_dies(writer: int) -> None:
        while True:
            change = {"path": f"{writer}.txt", "content": "eA==", "encoding": "base64"}
            try:
                answered.append(commit_raw(server, repo, {"key": "file", "value": change}))
            except httpx.HTTPError:
                return

    for _ in range(3):
        before = len(answered)
        writers = [threading.Thread(target=write_until_it_dies, args=(n,)) for n in range(3)]
        for writer in writers:
            writer.start()
        while len(answered) < before + 10:
            time.sleep(0.005)
        server.kill()
        # the lock of a commit that the kill cut short
        (next(server.data.glob("models/*/*")) / "refs/heads/main.lock").touch()
        restart(server)
        for writer in writers:
            writer.join(30)
            assert not writer.is_alive()
        history = [commit.commit_id for commit in api.list_repo_commits(repo)]
        assert set(answered) <= set(history)
        assert len(list(api.list_repo_tree(repo, recursive=True, expand=True))) >= 2


def commit_raw(server: HubServer, repo: str, operation: dict[str, object]) -> str:
    """One commit, one request, no retry: the id that the server answered."""
    header = {"key": "header", "value": {"summary": "raw"}}
    answer = httpx.post(
        f"{server.endpoint}/api/models/{repo}/commit/main",
        content="\n".join(map(json.dumps, (header, operation))),
        headers={"Authorization": f"Bearer {server.token}"},
    )
    return str(answer.raise_for_status().json()["commitOid"])


def upload_url(server: HubServer, repo: str, content: bytes) -> str:
    """Ask for a signed URL, as the client does before it uploads a large file."""
    oid = hashlib.sha256(content).hexdigest()
    answer = httpx.post(
        f"{server.endpoint}/{repo}.git/info/lfs/objects/batch",
        json={"operation": "upload", "objects": [{"oid": oid, "size": len(content)}]},
        headers={"Authorization": f"Bearer {server.token}"},
    )
    return str(answer.raise_for_status().json()["objects"][0]["actions"]["upload"]["href"])


def test_an_upload_that_is_not_what_was_announced_is_refused(own_hub_server: HubServer) -> None:
    server = own_hub_server
    href = upload_url(server, server.new_repo(), LARGE)
    flipped = bytes([LARGE[0] ^ 1]) + LARGE[1:]
    for wrong in (flipped, LARGE[:-1], LARGE + b"x", b""):
        assert httpx.put(href, content=wrong).status_code == 400
    endless = httpx.put(href, content=LARGE + LARGE)
    assert "longer than" in endless.json()["error"], "stopped at the size that was announced"
    assert lfs_files(server) == []
    assert list((server.data / "tmp").iterdir()) == []


def test_an_upload_url_allows_one_file_only(own_hub_server: HubServer) -> None:
    server = own_hub_server
    repo = server.new_repo()
    href, oid = upload_url(server, repo, b"content"), hashlib.sha256(b"content").hexdigest()
    other = hashlib.sha256(b"other").hexdigest()
    name = repo.partition("/")[2]
    forged = [
        (href.replace(oid, other), b"other"),
        (href.replace("size=7", "size=5"), b"other"),
        (href.replace(name, server.new_repo().partition("/")[2]), b"content"),
        (href.replace("/models/", "/datasets/"), b"content"),
        (href.replace("expires=", "expires=9"), b"content"),
        (href.partition("&signature")[0], b"content"),
        (href.partition("?")[0], b"content"),
    ]
    for url, content in forged:
        assert httpx.put(url, content=content).status_code == 403, url
    assert httpx.put(href, content=b"content").status_code == 200
    assert "signature" not in server.log.read_text(), "a URL that allows writing is a secret"


def test_an_upload_url_expires(own_hub_server: HubServer) -> None:
    server = own_hub_server
    href = upload_url(server, server.new_repo(), b"content")
    parts = urlsplit(href)
    _, _, kind, namespace, name, oid = parts.path.split("/")
    secret = (server.data / "secret").read_bytes()
    for expires, status in ((int(time.time()) - 1, 403), (int(time.time()) + 60, 200)):
        signature = sign(secret, kind, f"{namespace}/{name}", oid, 7, expires)
        query = f"size=7&expires={expires}&signature={signature}"
        url = parts._replace(query=query).geturl()
        assert httpx.put(url, content=b"content").status_code == status


def test_large_files_are_stored_once_and_known_to_their_repo_only(
    own_hub_server: HubServer,
) -> None:
    server, api = own_hub_server, own_hub_server.api()
    first, second = server.new_repo(), server.new_repo(private=True)
    for path in ("a.bin", "b.bin"):
        api.upload_file(path_or_fileobj=LARGE, path_in_repo=path, repo_id=first)
    assert len(lfs_files(server)) == 1
    assert upload_url(server, second, LARGE), "another repository does not tell that it has it"


def test_a_full_disk_is_said_and_spares_what_is_there(own_hub_server: HubServer) -> None:
    server, api = own_hub_server, own_hub_server.api()
    repo = server.new_repo()
    assert server.process
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (2_500_000, limits[1]))
    href = upload_url(server, repo, LARGE)
    answer = httpx.put(href, content=LARGE)
    assert (answer.status_code, "cannot store" in answer.text) == (507, True)
    assert lfs_files(server) == []
    assert list((server.data / "tmp").iterdir()) == []
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
    api.upload_file(path_or_fileobj=LARGE, path_in_repo="w.bin", repo_id=repo)
    assert len(lfs_files(server)) == 1


def test_large_files_are_never_whole_in_memory(own_hub_server: HubServer) -> None:
    server = own_hub_server
    content = bytes(150_000_000)
    repo = server.new_repo()
    assert server.process
    status = Path(f"/proc/{server.process.pid}/status")
    httpx.put(upload_url(server, repo, content), content=content).raise_for_status()
    operation = {"path": "w.bin", "algo": "sha256", "oid": hashlib.sha256(content).hexdigest()}
    commit_raw(server, repo, {"key": "lfsFile", "value": operation})
    got = httpx.get(f"{server.endpoint}/{repo}/resolve/main/w.bin").content
    assert len(got) == len(content)
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 130_000, f"peak memory in KiB of a server that streams: {peak}"


def test_slow_clients_do_not_hold_up_others(own_hub_server: HubServer) -> None:
    server, api = own_hub_server, own_hub_server.api()
    repo, files = server.new_repo(), [StallingFile(os.urandom(2_000_000)) for _ in range(4)]
    operations = [CommitOperationAdd(f"{n}.bin", file) for n, file in enumerate(files)]
    for file in files:
        file.armed = True
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(api.create_commit, repo, operations, commit_message="slow")
        wait_for_upload(server)
        # Would never end, were it to wait for them: they are released only afterwards.
        other = server.new_repo()
        api.upload_file(path_or_fileobj=b"\0fast", path_in_repo="w.bin", repo_id=other)
        assert not upload.done()
        for file in files:
            file.released.set()
        upload.result(timeout=60)
    assert len(api.list_repo_files(repo)) == 5


def test_state_survives_a_restart(own_hub_server: HubServer) -> None:
    server, api = own_hub_server, own_hub_server.api()
    repo = server.new_repo(private=True)
    sha = api.upload_file(path_or_fileobj=LARGE, path_in_repo="w.bin", repo_id=repo).oid
    api.create_tag(repo, tag="champion")
    server.stop()
    restart(server)
    info = api.model_info(repo, revision="champion")
    assert (info.sha, info.private) == (sha, True)


def run_hub(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to refuse to start."""
    command = [sys.executable, "-m", "loopback_hub", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_start_refusals_say_what_to_do(own_hub_server: HubServer, tmp_path: Path) -> None:
    server, tokens = own_hub_server, own_hub_server.folder / "tokens.json"
    port = server.endpoint.rpartition(":")[2]
    broken = tmp_path / "broken.json"
    broken.write_text('{"t": {"user": "demo", "role": "admin"}}')
    cases = {
        "is not free": ("--data", tmp_path / "other", "--port", port, "--tokens", tokens),
        "another Hub server uses": ("--data", server.data, "--port", 0, "--tokens", tokens),
        "'read' or 'write'": ("--data", tmp_path / "other", "--port", 0, "--tokens", broken),
        "No such file": ("--data", tmp_path / "other", "--port", 0, "--tokens", "/nowhere.json"),
    }
    for message, arguments in cases.items():
        refused = run_hub(*arguments)
        assert refused.returncode == 1, message
        assert message in refused.stderr
        assert "Traceback" not in refused.stderr
    assert HfApi(endpoint=server.endpoint, token=server.token).whoami()["name"] == "demo"


def test_only_its_owner_reads_the_data(own_hub_server: HubServer) -> None:
    data = own_hub_server.data
    assert (data.stat().st_mode & 0o077, (data / "secret").stat().st_mode & 0o077) == (0, 0)

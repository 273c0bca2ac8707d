"""The Hub edge when answers get lost: a real Hub server behind a connection that breaks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import pytest

from tests.fixtures.hub import HubServer
from whisper_retrain.edges.hub import Account, HubClient
from whisper_retrain.errors import ConflictError, HubError, InputError, IntegrityError


class Connection:
    """Passes bytes on to a Hub server; loses the answers to requests that begin as `cut` says."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.cut: list[bytes] = []
        self.forged: tuple[bytes, bytes] = (b"\0never", b"\0never")
        self.seen: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:  # closed
                return
            server = socket.create_connection((self.target.hostname or "", self.target.port or 0))
            lost = threading.Event()
            for pump in (self._requests, self._answers):
                threading.Thread(target=pump, args=(client, server, lost), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, lost: Event) -> None:
        with suppress(OSError):
            while data := client.recv(2**16):
                # No client sends the next request before it has an answer: a line is a request.
                line = data.split(b"\r\n", 1)[0]
                self.seen.append(line)
                if hits := [part for part in self.cut if line.startswith(part)]:
                    self.cut.remove(hits[0])
                    lost.set()
                server.sendall(data)
        server.close()

    def _answers(self, client: socket.socket, server: socket.socket, lost: Event) -> None:
        with suppress(OSError):
            while (data := server.recv(2**16)) and not lost.is_set():
                client.sendall(data.replace(*self.forged))
            client.shutdown(socket.SHUT_RDWR)
        client.close()


@pytest.fixture
def connection(hub_server: HubServer) -> Iterator[Connection]:
    found = Connection(hub_server.endpoint)
    yield found
    found.listener.close()


@pytest.fixture
def hub(hub_server: HubServer, connection: Connection) -> HubClient:
    return HubClient(connection.url, hub_server.token)


def requests(connection: Connection, start: str) -> int:
    return sum(line.startswith(start.encode()) for line in connection.seen)


def test_a_commit_whose_answer_was_lost_is_made_once(
    hub: HubClient, hub_server: HubServer, connection: Connection
) -> None:
    repo = hub_server.new_repo()
    parent = hub.head(repo)
    connection.cut.append(f"POST /api/models/{repo}/commit/".encode())
    revision = hub.commit(repo, {"a": b"1"}, "Title\n\nDecision: abc", parent)
    assert hub.head(repo) == revision
    assert [commit.revision for commit in hub.history(repo)].index(revision) == 0
    assert requests(connection, f"POST /api/models/{repo}/commit/") == 1


def test_a_lost_answer_and_somebody_elses_commit_on_top(
    hub: HubClient, hub_server: HubServer, connection: Connection
) -> None:
    """Ours is found below theirs."""
    repo = hub_server.new_repo()
    parent = hub.head(repo)
    connection.cut.append(f"POST /api/models/{repo}/commit/".encode())
    with pytest.raises(HubError):
        HubClient(connection.url, hub_server.token, attempts=1).commit(
            repo, {"a": b"1"}, "Ours\n\nDecision: abc", parent
        )
    ours = hub.head(repo)
    hub.commit(repo, {"b": b"2"}, "Theirs", ours)
    assert hub.commit(repo, {"a": b"1"}, "Ours\n\nDecision: abc", parent) == ours


def test_the_same_content_on_a_moved_head_is_a_conflict(
    hub: HubClient, hub_server: HubServer
) -> None:
    """The client alone would return the head, and claim success without having asked."""
    repo = hub_server.new_repo()
    parent = hub.head(repo)
    hub.commit(repo, {"a": b"1"}, "Theirs", parent)
    with pytest.raises(ConflictError):
        hub.commit(repo, {"a": b"1"}, "Ours", parent)


def test_no_change_makes_no_commit(hub: HubClient, hub_server: HubServer) -> None:
    repo = hub_server.new_repo()
    first = hub.commit(repo, {"a": b"1"}, "First", hub.head(repo))
    assert hub.commit(repo, {"a": b"1"}, "Again", first) == first


@pytest.mark.parametrize("lost", ["DELETE", "POST"])
def test_a_tag_arrives_whichever_answer_is_lost(
    hub: HubClient, hub_server: HubServer, connection: Connection, lost: str
) -> None:
    repo = hub_server.new_repo()
    first = hub.commit(repo, {"a": b"1"}, "First", hub.head(repo))
    second = hub.commit(repo, {"a": b"2"}, "Second", first)
    hub.move_tag(repo, "champion", first)
    connection.cut.append(f"{lost} /api/models/{repo}/tag/".encode())
    hub.move_tag(repo, "champion", second)
    assert hub.tags(repo) == {"champion": second}


def test_killed_between_deleting_and_making_a_tag(hub: HubClient, hub_server: HubServer) -> None:
    repo = hub_server.new_repo()
    revision = hub.commit(repo, {"a": b"1"}, "First", hub.head(repo))
    hub.move_tag(repo, "champion", revision)
    hub.api.delete_tag(repo, tag="champion")  # and here the process died
    hub.move_tag(repo, "champion", revision)
    assert hub.tags(repo) == {"champion": revision}


def test_a_file_that_is_not_what_is_listed_is_refused(
    hub: HubClient, hub_server: HubServer, connection: Connection, tmp_path: Path
) -> None:
    repo = hub_server.new_repo()
    revision = hub.commit(repo, {"config.json": b"as published"}, "First", hub.head(repo))
    connection.forged = (b"as published", b"as forged...")
    with pytest.raises(IntegrityError, match=r"config\.json"):
        hub.download(repo, revision, tmp_path / "model")


def test_large_files_and_patterns(hub: HubClient, hub_server: HubServer, tmp_path: Path) -> None:
    """Weights go through LFS, others through git; only what matches is fetched."""
    repo = hub_server.new_repo()
    files = {"model.safetensors": b"w" * 20_000, "config.json": b"{}", "notes.txt": b"no"}
    revision = hub.commit(repo, files, "First", hub.head(repo))
    target = hub.download(repo, revision, tmp_path / "model", ["*.safetensors", "config.json"])
    assert sorted(path.name for path in target.iterdir()) == ["config.json", "model.safetensors"]
    assert (target / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_a_dataset_has_a_history_of_its_own(hub: HubClient, hub_server: HubServer) -> None:
    repo = hub_server.new_repo("dataset")
    revision = hub.commit(repo, {"a": b"1"}, "First", hub.head(repo, "dataset"), "dataset")
    assert hub.resolve(repo, "main", "dataset") == revision
    assert hub.head(repo) is None
    assert hub.url(repo, revision, "dataset").endswith(f"/datasets/{repo}/tree/{revision}")


def test_without_a_repo_there_are_no_tags_and_no_history(
    hub: HubClient, hub_server: HubServer
) -> None:
    name = hub_server.new_name()
    assert (hub.tags(name), hub.history(name)) == ({}, [])


def test_a_wrong_token_is_not_taken_for_a_missing_repo(hub_server: HubServer) -> None:
    hub = HubClient(hub_server.endpoint, "hf_wrong")
    with pytest.raises(InputError, match="token is not valid"):
        hub.head(hub_server.new_repo())


@pytest.mark.parametrize(
    ("account", "repo", "allowed"),
    [
        (Account("me", "write", ()), "me/model", True),
        (Account("me", "write", ("clinic",)), "clinic/model", True),
        (Account("me", "write", ()), "clinic/model", False),
        (Account("me", "read", ()), "me/model", False),
        (Account("me", "fineGrained", (), ("me",)), "me/model", True),
        (Account("me", "fineGrained", (), ("me/model",)), "me/model", True),
        (Account("me", "fineGrained", (), ("me/other",)), "me/model", False),
    ],
)
def test_who_may_write_where(account: Account, repo: str, allowed: bool) -> None:
    assert account.can_write(repo) is allowed

"""The Hub edge against a real Hub server: safe to repeat, and clear when it cannot work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from whisper_retrain.edges.hub import HubClient
from whisper_retrain.errors import ConflictError, HubError, InputError


@pytest.fixture
def hub(hub_server: Any) -> HubClient:
    return HubClient(hub_server.endpoint, hub_server.token)


@pytest.fixture
def repo(hub_server: Any, hub: HubClient) -> str:
    name = str(hub_server.new_name())
    hub.create_repo(name, private=False)
    return name


def test_a_token_says_who_it_is(hub: HubClient) -> None:
    assert hub.whoami().role == "write"


def test_a_wrong_token_is_named_as_such(hub_server: Any) -> None:
    with pytest.raises(InputError, match="token is not valid"):
        HubClient(hub_server.endpoint, "hf_wrong").whoami()


def test_a_read_token_cannot_write(hub_server: Any) -> None:
    with pytest.raises(InputError, match="role write"):
        HubClient(hub_server.endpoint, hub_server.read_token).create_repo(
            hub_server.new_name(), private=False
        )


def test_no_repo_has_no_head(hub: HubClient, hub_server: Any) -> None:
    assert hub.head(hub_server.new_name()) is None


def test_a_missing_ref_is_an_error_of_input(hub: HubClient, repo: str) -> None:
    with pytest.raises(InputError, match="no such revision"):
        hub.resolve(repo, "nowhere")


def test_a_commit_is_on_top_of_its_parent(hub: HubClient, repo: str, tmp_path: Path) -> None:
    first = hub.commit(repo, {"a.txt": b"one"}, "First\n\nDigest: 1", hub.head(repo))
    second = hub.commit(repo, {"a.txt": b"two"}, "Second", first)
    assert [one.revision for one in hub.history(repo)][:2] == [second, first]
    target = hub.download(repo, first, tmp_path / "first")
    assert (target / "a.txt").read_bytes() == b"one"


def test_the_same_commit_again_is_the_same_commit(hub: HubClient, repo: str) -> None:
    """Its answer was lost, the caller tries again with the parent that it knows."""
    parent = hub.head(repo)
    first = hub.commit(repo, {"a.txt": b"one"}, "First\n\nDigest: 1", parent)
    assert hub.commit(repo, {"a.txt": b"one"}, "First\n\nDigest: 1", parent) == first
    assert hub.head(repo) == first


def test_somebody_elses_commit_is_a_conflict(hub: HubClient, repo: str) -> None:
    parent = hub.head(repo)
    hub.commit(repo, {"a.txt": b"theirs"}, "Theirs", parent)
    with pytest.raises(ConflictError, match="somebody else"):
        hub.commit(repo, {"a.txt": b"ours"}, "Ours", parent)


def test_a_tag_moves_and_moves_back(hub: HubClient, repo: str) -> None:
    first = hub.commit(repo, {"a.txt": b"one"}, "First", hub.head(repo))
    second = hub.commit(repo, {"a.txt": b"two"}, "Second", first)
    for target in (first, second, second, first):
        hub.move_tag(repo, "champion", target)
        assert hub.tags(repo)["champion"] == target


def test_only_revisions_are_downloaded(hub: HubClient, repo: str, tmp_path: Path) -> None:
    """A ref would silently be served from a stale cache when the Hub fails."""
    with pytest.raises(InputError, match="40 hex digits"):
        hub.download(repo, "main", tmp_path)


def test_a_hub_that_is_down_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    with pytest.raises(HubError, match="could not be reached"):
        HubClient("http://127.0.0.1:9", "hf_any").resolve("a/b", "main")

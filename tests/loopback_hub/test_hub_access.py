"""Who may do what on the Hub server, and which exception the real client makes of each refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.fixtures.hub import HubServer


@pytest.fixture(scope="module")
def public(hub_server: HubServer) -> str:
    """A public repository with one file."""
    return _filled(hub_server, private=False)


@pytest.fixture(scope="module")
def private(hub_server: HubServer) -> str:
    """A private repository with one file."""
    return _filled(hub_server, private=True)


@pytest.fixture(scope="module")
def gated(hub_server: HubServer) -> str:
    """A gated repository with one file."""
    name = _filled(hub_server, private=False)
    hub_server.api().update_repo_settings(name, gated="manual")
    return name


def _filled(hub_server: HubServer, private: bool) -> str:
    name = hub_server.new_repo(private=private)
    hub_server.api().upload_file(path_or_fileobj=b"text", path_in_repo="t.txt", repo_id=name)
    return name


def status(call: Callable[[], object]) -> int:
    """The HTTP status that a client call ends with."""
    try:
        call()
    except HfHubHTTPError as error:
        return error.response.status_code
    return 200


def writes(api: HfApi, name: str) -> list[Callable[[], object]]:
    """Every way to change a repository."""
    text = CommitOperationAdd("x.txt", b"x")
    return [
        lambda: api.create_commit(name, [text], commit_message="x"),
        lambda: api.create_tag(name, tag="t"),
        lambda: api.delete_tag(name, tag="t"),
        lambda: api.create_branch(name, branch="b"),
        lambda: api.delete_branch(name, branch="b"),
        lambda: api.update_repo_settings(name, private=True),
        lambda: api.delete_repo(name),
    ]


def reads(api: HfApi, name: str) -> list[Callable[[], object]]:
    """Every way to read a repository."""
    return [
        lambda: api.model_info(name),
        lambda: api.list_repo_refs(name),
        lambda: api.list_repo_commits(name),
        lambda: api.list_repo_files(name),
        lambda: list(api.list_repo_tree(name)),
        lambda: api.get_paths_info(name, ["t.txt"]),
        lambda: api.get_hf_file_metadata(
            url=f"{api.endpoint}/{name}/resolve/main/t.txt", token=api.token
        ),
        lambda: api.auth_check(name),
    ]


def test_anyone_reads_a_public_repo(hub_server: HubServer, public: str) -> None:
    for token in (False, hub_server.token, hub_server.read_token, hub_server.stranger_token):
        for call in reads(hub_server.api(token), public):
            assert status(call) == 200


def test_members_read_a_private_repo(hub_server: HubServer, private: str) -> None:
    for token in (hub_server.token, hub_server.read_token):
        for call in reads(hub_server.api(token), private):
            assert status(call) == 200


def test_a_private_repo_looks_like_a_missing_one(hub_server: HubServer, private: str) -> None:
    missing = hub_server.new_name()
    for token, expected in ((False, 401), (hub_server.stranger_token, 404)):
        for name in (private, missing):
            for call in reads(hub_server.api(token), name):
                with pytest.raises(RepositoryNotFoundError) as error:
                    call()
                assert error.value.response.status_code == expected


def test_a_wrong_token_is_told_apart_from_a_missing_repo(
    hub_server: HubServer, public: str
) -> None:
    api = hub_server.api("hf_wrong")
    for call in [api.whoami, *reads(api, public)[:6], writes(api, public)[0]]:
        with pytest.raises(HfHubHTTPError) as error:
            call()
        assert error.value.response.status_code == 401
        assert not isinstance(error.value, RepositoryNotFoundError)
        assert "Invalid" in str(error.value)


def test_whoami_without_a_token(hub_server: HubServer) -> None:
    assert httpx.get(f"{hub_server.endpoint}/api/whoami-v2").status_code == 401


def test_a_read_token_writes_nothing(hub_server: HubServer, public: str) -> None:
    api = hub_server.api(hub_server.read_token)
    for call in [*writes(api, public), lambda: api.create_repo(hub_server.new_name())]:
        with pytest.raises(HfHubHTTPError, match="read-only") as error:
            call()
        assert error.value.response.status_code == 403
    assert hub_server.api().list_repo_files(public) == [".gitattributes", "t.txt"]


def test_a_stranger_writes_to_no_other_namespace(hub_server: HubServer, public: str) -> None:
    api = hub_server.api(hub_server.stranger_token)
    for call in [*writes(api, public), lambda: api.create_repo(hub_server.new_name())]:
        assert status(call) == 403


def test_without_a_token_nothing_is_written(hub_server: HubServer, public: str) -> None:
    for call in writes(hub_server.api(False), public):
        assert status(call) == 401


def test_a_large_refused_commit_still_gets_its_answer(hub_server: HubServer, public: str) -> None:
    """The answer must reach a client that is still sending 12 MB."""
    answer = httpx.post(
        f"{hub_server.endpoint}/api/models/{public}/commit/main",
        content=b"x" * 12_000_000,
        headers={"Authorization": f"Bearer {hub_server.read_token}"},
    )
    assert answer.status_code == 403


def test_a_gated_repo_shows_itself_but_not_its_files(hub_server: HubServer, gated: str) -> None:
    for token, expected in ((False, 401), (hub_server.stranger_token, 403)):
        api = hub_server.api(token)
        assert api.model_info(gated).gated == "manual"
        for call in reads(api, gated)[4:]:
            with pytest.raises(GatedRepoError) as error:
                call()
            assert error.value.response.status_code == expected
    assert hub_server.api(hub_server.read_token).file_exists(gated, "t.txt")


def test_a_missing_revision(hub_server: HubServer, public: str, tmp_path: Path) -> None:
    arguments = {
        "endpoint": hub_server.endpoint,
        "token": hub_server.token,
        "cache_dir": tmp_path,
        "revision": "nope",
    }
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(public, "t.txt", **arguments)
    with pytest.raises(RevisionNotFoundError):
        snapshot_download(public, **arguments)
    with pytest.raises(RevisionNotFoundError):
        hub_server.api().upload_file(
            path_or_fileobj=b"x", path_in_repo="x", repo_id=public, revision="nope"
        )


def test_a_missing_file_is_remembered_with_its_revision(
    hub_server: HubServer, public: str, tmp_path: Path
) -> None:
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(
            public,
            "chat_template.jinja",
            endpoint=hub_server.endpoint,
            token=hub_server.token,
            cache_dir=tmp_path,
        )
    revision = hub_server.api().model_info(public).sha
    assert list(tmp_path.rglob(f".no_exist/{revision}/chat_template.jinja"))


@pytest.mark.parametrize("name", ["gpt2", "demo/../../etc", "datasets/demo/none"])
def test_ids_that_cannot_exist(hub_server: HubServer, name: str) -> None:
    for path in (f"/api/models/{name}", f"/{name}/resolve/main/config.json"):
        assert httpx.get(hub_server.endpoint + path).status_code in (401, 404)


def test_other_hosts_names_are_refused(hub_server: HubServer) -> None:
    """Else a page on the web could read the Hub by pointing its own name at 127.0.0.1."""
    url = f"{hub_server.endpoint}/api/health"
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 400
    assert httpx.get(url.replace("127.0.0.1", "localhost")).status_code == 200


def test_a_client_that_uploads_through_xet_is_told_the_setting(hub_server: HubServer) -> None:
    url = f"{hub_server.endpoint}/api/models/demo/any/xet-write-token/main"
    answer = httpx.get(url)
    assert answer.status_code == 404
    assert "HF_HUB_DISABLE_XET=1" in answer.json()["error"]

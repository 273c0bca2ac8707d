"""The Hub server's repositories, branches, tags and histories, as `huggingface_hub` sees them."""

from __future__ import annotations

import re

import httpx2 as httpx
import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.fixtures.hub import HubServer

CARD = """---
license: mit
library_name: transformers
pipeline_tag: automatic-speech-recognition
tags: [medical]
model-index:
- name: whisper
  results:
  - task: {type: automatic-speech-recognition}
    dataset: {name: demo, type: demo}
    metrics: [{type: wer, value: 0.25}]
---
# A card
"""


def test_health_needs_no_token(hub_server: HubServer) -> None:
    answer = httpx.get(f"{hub_server.endpoint}/api/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_whoami_names_user_role_and_organizations(hub_server: HubServer) -> None:
    me = hub_server.api().whoami()
    assert (me["name"], [org["name"] for org in me["orgs"]]) == ("demo", ["clinic"])
    assert me["auth"]["accessToken"]["role"] == "write"
    assert hub_server.api(hub_server.read_token).whoami()["auth"]["accessToken"]["role"] == "read"


def test_create_repo_twice_is_a_conflict_unless_it_may_exist(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_name()
    url = api.create_repo(name)
    assert (url.repo_id, url.repo_type) == (name, "model")
    with pytest.raises(HfHubHTTPError, match="already created") as error:
        api.create_repo(name)
    assert error.value.response.status_code == 409
    assert api.create_repo(name, exist_ok=True).repo_id == name


def test_model_and_dataset_of_one_name_are_two_repositories(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_name()
    api.create_repo(name)
    assert not api.repo_exists(name, repo_type="dataset")
    assert api.create_repo(name, repo_type="dataset").repo_type == "dataset"
    assert api.dataset_info(name).id == name


def test_repo_of_an_organization(hub_server: HubServer) -> None:
    name = hub_server.new_name().replace("demo/", "clinic/")
    hub_server.api().create_repo(name)
    assert hub_server.api().model_info(name).author == "clinic"


def test_deleted_repo_is_gone_and_its_name_free(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    api.delete_repo(name)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(name)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(name)
    api.delete_repo(name, missing_ok=True)
    api.create_repo(name)
    assert api.list_repo_files(name) == [".gitattributes"]


def test_visibility_and_gating_can_be_changed(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    assert not api.model_info(name).private
    api.update_repo_settings(name, private=True, gated="auto")
    info = api.model_info(name, expand=["private", "gated"])
    assert (info.private, info.gated) == (True, "auto")
    assert info.siblings is None, "only the fields that were asked for"


def test_info_reads_the_card(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    api.upload_file(path_or_fileobj=CARD.encode(), path_in_repo="README.md", repo_id=name)
    info = api.model_info(name, files_metadata=True)
    assert info.pipeline_tag == "automatic-speech-recognition"
    assert info.library_name == "transformers"
    assert set(info.tags or []) >= {"medical", "license:mit", "transformers"}
    assert info.card_data
    assert info.card_data.eval_results
    assert info.card_data.eval_results[0].metric_value == 0.25
    sizes = {file.rfilename: file.size for file in info.siblings or []}
    assert sizes["README.md"] == len(CARD.encode())


def test_a_card_whose_front_matter_is_broken_is_refused(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    for broken in ("---\ntags: [a\n---\n", "---\n- a list\n---\n"):
        with pytest.raises(ValueError, match="front matter"):
            api.upload_file(path_or_fileobj=broken.encode(), path_in_repo="README.md", repo_id=name)
    assert api.list_repo_files(name) == [".gitattributes"]


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ("tags: notalist", '"tags"'),
        ('license: "My Own!"', "no license id"),
        ("language: {a: b}", '"language"'),
        ("datasets: [1]", '"datasets.0"'),
        ("pipeline_tag: [asr]", '"pipeline_tag"'),
        ("model-index: {name: x}", '"model-index"'),
        ("model-index: [{name: x, results: [{task: {type: asr}, metrics: []}]}]", "metrics"),
    ],
)
def test_metadata_that_the_hub_would_refuse_is_refused_before_the_commit(
    hub_server: HubServer, metadata: str, named: str
) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    card = f"---\n{metadata}\n---\n# Card\n".encode()
    with pytest.raises(ValueError, match=re.escape(named)):
        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=name)
    assert api.list_repo_files(name) == [".gitattributes"]


def test_metadata_of_other_names_is_free(hub_server: HubServer) -> None:
    card = "---\nlicense: other\nlicense_name: ours\nmine: {any: [thing]}\nlanguage: en\n---\n"
    api, name = hub_server.api(), hub_server.new_repo()
    api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=name)
    assert "license:other" in (api.model_info(name).tags or [])


def test_repositories_are_listed_as_far_as_the_caller_may_see_them(hub_server: HubServer) -> None:
    api = hub_server.api()
    public, hidden = hub_server.new_repo(), hub_server.new_repo()
    api.update_repo_settings(hidden, private=True)
    api.upload_file(path_or_fileobj=CARD.encode(), path_in_repo="README.md", repo_id=public)
    author = public.partition("/")[0]
    mine = {model.id for model in api.list_models(author=author)}
    assert {public, hidden} <= mine
    strangers = {model.id for model in api.list_models(author=author, token=False)}
    assert public in strangers
    assert hidden not in strangers
    word = public.partition("/")[2].upper()
    assert [model.id for model in api.list_models(search=word)] == [public]
    (tagged,) = api.list_models(search=word, filter="medical", full=True)
    assert tagged.sha == api.model_info(public).sha
    assert not list(api.list_models(search=word, filter="no such tag"))
    assert not list(api.list_datasets(search=word))
    assert len(list(api.list_models(author=author, limit=1))) == 1


def test_a_card_without_metadata_is_warned_about(hub_server: HubServer) -> None:
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        hub_server.api()._validate_yaml("# no metadata", repo_type="model")


def test_branches(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    api.create_branch(name, branch="work/one")
    with pytest.raises(HfHubHTTPError) as error:
        api.create_branch(name, branch="work/one")
    assert error.value.response.status_code == 409
    api.create_branch(name, branch="work/one", exist_ok=True)
    for file_and_folder in ("work", "main/sub"):  # refs are files: neither can be both
        with pytest.raises(HfHubHTTPError) as error:
            api.create_branch(name, branch=file_and_folder)
        assert error.value.response.status_code == 409
    done = api.upload_file(
        path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=name, revision="work/one"
    )
    branches = {ref.name: ref.target_commit for ref in api.list_repo_refs(name).branches}
    assert branches["work/one"] == done.oid != branches["main"]
    assert not api.file_exists(name, "x.txt")
    assert api.file_exists(name, "x.txt", revision="work/one")
    api.delete_branch(name, branch="work/one")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(name, revision="work/one")
    with pytest.raises(HfHubHTTPError) as error:
        api.delete_branch(name, branch="main")
    assert error.value.response.status_code == 403


@pytest.mark.parametrize("message", [None, "promoted"], ids=["plain", "annotated"])
def test_tags_point_to_commits(hub_server: HubServer, message: str | None) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    first = str(api.model_info(name).sha)
    second = api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=name).oid
    api.create_tag(name, tag="champion", tag_message=message)
    api.create_tag(name, tag="v/1", tag_message=message, revision=first)
    tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(name).tags}
    assert tags == {"champion": second, "v/1": first}
    assert api.model_info(name, revision="v/1").sha == first


def test_a_tag_moves_only_by_deleting_it_first(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    old = str(api.model_info(name).sha)
    api.create_tag(name, tag="champion")
    new = api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=name).oid
    with pytest.raises(HfHubHTTPError) as error:
        api.create_tag(name, tag="champion")
    assert error.value.response.status_code == 409
    api.create_tag(name, tag="champion", exist_ok=True)
    assert api.model_info(name, revision="champion").sha == old, "exist_ok leaves it where it is"
    api.delete_tag(name, tag="champion")
    api.create_tag(name, tag="champion")
    assert api.model_info(name, revision="champion").sha == new
    api.delete_tag(name, tag="champion")
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag(name, tag="champion")


@pytest.mark.parametrize("tag", ["", "../main", "a..b", "a b", "x.lock", "/", "a~1"])
def test_names_that_git_forbids_are_refused(hub_server: HubServer, tag: str) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        hub_server.api().create_tag(hub_server.new_repo(), tag=tag)
    assert error.value.response.status_code == 400


def test_a_revision_is_a_branch_a_tag_or_a_commit_even_shortened(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    sha = str(api.model_info(name).sha)
    for revision in ("main", "refs/heads/main", sha, sha[:7]):
        assert api.model_info(name, revision=revision).sha == sha
    for revision in ("nope", "refs/pr/1", sha[:5], "0" * 40, "../main", "HEAD~1"):
        with pytest.raises(RevisionNotFoundError):
            api.model_info(name, revision=revision)


def test_history_lists_newest_first_over_several_pages(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    for n in range(52):
        api.create_commit(
            name,
            [CommitOperationAdd("n.txt", f"{n}".encode())],
            commit_message=f"number {n}",
            commit_description="first line\nsecond line",
        )
    commits = api.list_repo_commits(name)
    assert [c.title for c in commits[:2]] == ["number 51", "number 50"]
    assert (len(commits), commits[-1].title) == (53, "initial commit")
    assert commits[0].message == "first line\nsecond line"
    assert commits[0].authors == ["demo"]


def test_tree_lists_folders_files_and_sizes(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    weights = b"\0" * 5000
    api.create_commit(
        name,
        [
            CommitOperationAdd("a/b/deep.txt", b"deep"),
            CommitOperationAdd("a/model.safetensors", weights),
        ],
        commit_message="files",
    )
    flat = {item.path for item in api.list_repo_tree(name, "a")}
    assert flat == {"a/b", "a/model.safetensors"}
    everything = {item.path: item for item in api.list_repo_tree(name, recursive=True)}
    assert everything.keys() == {
        ".gitattributes",
        "a",
        "a/b",
        "a/b/deep.txt",
        "a/model.safetensors",
    }
    model = everything["a/model.safetensors"]
    assert model.size == model.lfs.size == 5000
    assert [item.path for item in api.list_repo_tree(name, "a/b")] == ["a/b/deep.txt"]
    for missing in ("nope", "a/b/deep.txt", "a/model.safetensors/x"):
        with pytest.raises(EntryNotFoundError):
            list(api.list_repo_tree(name, missing))


def test_tree_of_more_than_one_page(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    api.create_branch(name, branch="work/many")
    files = [CommitOperationAdd(f"shard-{n:04}.txt", b"same") for n in range(1001)]
    api.create_commit(name, files, commit_message="many", revision="work/many")
    assert len(api.list_repo_files(name, revision="work/many")) == 1002


def test_expanded_tree_names_the_last_commit_of_each_path(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    for path in ("a/one.txt", "two.txt", "a/one.txt"):
        last = api.model_info(name).sha
        api.upload_file(
            path_or_fileobj=f"{path} {last}".encode(),
            path_in_repo=path,
            repo_id=name,
            commit_message=f"write {path} after {last}",
        )
    items = {i.path: i for i in api.list_repo_tree(name, recursive=True, expand=True)}
    newest, second, _, first = (commit.commit_id for commit in api.list_repo_commits(name))
    got = {path: item.last_commit.oid for path, item in items.items()}
    assert got == {
        ".gitattributes": first,
        "a": newest,
        "a/one.txt": newest,
        "two.txt": second,
    }


def test_paths_info_leaves_out_what_is_missing(hub_server: HubServer) -> None:
    api, name = hub_server.api(), hub_server.new_repo()
    found = api.get_paths_info(name, [".gitattributes", "nope", "../etc/passwd", ""])
    assert [item.path for item in found] == [".gitattributes"]


@pytest.mark.parametrize("name", ["demo/..", "demo/a..b", "demo/.hidden", "demo/a.git", "api/x"])
def test_impossible_repo_names_are_refused(hub_server: HubServer, name: str) -> None:
    headers = {"Authorization": f"Bearer {hub_server.token}"}
    namespace, _, short = name.partition("/")
    answer = httpx.post(
        f"{hub_server.endpoint}/api/repos/create",
        json={"organization": namespace, "name": short},
        headers=headers,
    )
    assert answer.status_code in (400, 403)
    if short != "..":  # the client resolves it: what is asked for is the listing
        url = f"{hub_server.endpoint}/api/models/{namespace}/{short}"
        assert httpx.get(url, headers=headers).status_code == 404

"""The Hub server's pages: what a browser shows when it follows a link that the project printed."""

from __future__ import annotations

import httpx2 as httpx
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from tests.fixtures.hub import HubServer

CARD = """---
license: mit
tags: ["<b>tag</b>"]
---
# Whisper for symptoms

| WER | value |
|-----|-------|
| new | 0.04  |

![curve](curve.png) [files](config.json) [evil](javascript:alert(1))
<script>alert(1)</script>
"""


@pytest.fixture(scope="module")
def repo(hub_server: HubServer) -> str:
    """A repository with a card, a picture and a tag."""
    name, api = hub_server.new_repo(), hub_server.api()
    files = {"README.md": CARD.encode(), "curve.png": b"\x89PNG\0", "a/<i>&.txt": b"x"}
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    api.create_commit(name, operations, commit_message="<b>first</b>", commit_description="why")
    api.create_tag(name, tag="champion")
    return name


def page(hub_server: HubServer, path: str) -> str:
    """A page as a browser gets it; none may run a script."""
    answer = httpx.get(f"{hub_server.endpoint}/{path}", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    return str(answer.text)


def test_model_page_shows_card_revision_and_tags(hub_server: HubServer, repo: str) -> None:
    html, sha = page(hub_server, repo), hub_server.api().model_info(repo).sha
    assert "<h1>Whisper for symptoms</h1>" in html
    assert "<td>0.04</td>" in html
    assert f"<code>{sha}</code>" in html
    assert "<td>champion</td>" in html
    assert "license: mit" not in html, "the front matter is no text"


def test_a_card_can_run_nothing(hub_server: HubServer, repo: str) -> None:
    html = page(hub_server, repo)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert 'href="javascript' not in html
    assert "<b>tag</b>" not in html


def test_pictures_of_a_card_are_shown(hub_server: HubServer, repo: str) -> None:
    html, sha = page(hub_server, repo), hub_server.api().model_info(repo).sha
    base = f"/{repo}/resolve/{sha}/"
    assert f'<base href="{base}">' in html
    assert 'src="curve.png"' in html
    picture = httpx.get(f"{hub_server.endpoint}{base}curve.png")
    assert picture.headers["content-type"] == "image/png"


def test_files_cannot_pose_as_pages(hub_server: HubServer) -> None:
    name, evil = hub_server.new_repo(), b"<script>alert(1)</script>"
    hub_server.api().create_commit(
        name,
        [CommitOperationAdd(f"x.{ending}", evil) for ending in ("html", "svg", "xml", "js")],
        commit_message="evil",
    )
    for ending in ("html", "svg", "xml", "js"):
        answer = httpx.get(f"{hub_server.endpoint}/{name}/resolve/main/x.{ending}")
        kind = answer.headers["content-type"]
        assert kind.startswith(("text/plain", "application/octet-stream"))
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_commit_page_is_where_the_client_says_it_is(hub_server: HubServer, repo: str) -> None:
    done = hub_server.api().create_commit(
        repo,
        [CommitOperationAdd("new.txt", b"new"), CommitOperationDelete("a/<i>&.txt")],
        commit_message="second <b>",
        commit_description="the reason",
    )
    html = page(hub_server, done.commit_url.removeprefix(f"{hub_server.endpoint}/"))
    assert "<h2>second &lt;b&gt;</h2>" in html
    assert "<pre>the reason</pre>" in html
    assert "<li>added new.txt</li>" in html
    assert "<li>removed a/&lt;i&gt;&amp;.txt</li>" in html
    assert "<li>added .gitattributes</li>" in page(
        hub_server, f"{repo}/commit/{hub_server.api().list_repo_commits(repo)[-1].commit_id}"
    )


def test_tree_page_links_to_files(hub_server: HubServer, repo: str) -> None:
    html = page(hub_server, f"{repo}/tree/champion")
    assert "a/&lt;i&gt;&amp;.txt" in html
    assert "/a/%3Ci%3E%26.txt" in html


def test_dataset_page(hub_server: HubServer) -> None:
    name = hub_server.new_repo("dataset")
    assert name in page(hub_server, f"datasets/{name}")
    assert "initial commit" in page(hub_server, f"datasets/{name}/commit/main")


def test_private_repositories_are_not_shown(hub_server: HubServer, repo: str) -> None:
    hidden = hub_server.new_repo(private=True)
    index = page(hub_server, "")
    assert repo in index
    assert hidden not in index
    answer = httpx.get(f"{hub_server.endpoint}/{hidden}", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"][:10]) == (401, "text/plain")

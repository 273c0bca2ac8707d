"""Small HTML pages, so that a repository's links open in a browser. Read-only.

Every value is escaped by Jinja2; a card is rendered as Markdown with raw HTML disabled, and the
pages forbid scripts altogether, since a card is anyone's text.
"""

from typing import Any

import jinja2
from dulwich.objects import Commit
from dulwich.repo import Repo as GitRepo
from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from loopback_hub import cards, history
from loopback_hub.browse import card_text
from loopback_hub.calls import (
    caller,
    hub,
    is_member,
    repo_to_download,
    repo_to_read,
    revision,
)

MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
SAFE = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; media-src 'self'; "
    "style-src 'unsafe-inline'; base-uri 'self'",
    "X-Content-Type-Options": "nosniff",
}

# <base> makes a card's relative images and links point at files of the revision shown.
LAYOUT = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
{% if base %}<base href="{{ base }}">{% endif %}<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { border: 1px solid #ccc; padding: .2rem .6rem }
pre, code { background: #f4f4f4 } pre { padding: .6rem; overflow: auto } img { max-width: 100% }
.tag { background: #eef; border-radius: .3rem; padding: 0 .4rem }
</style></head><body><p><a href="/">Local Hub</a></p><h1>{{ title }}</h1>
{% block body %}{% endblock %}</body></html>"""

INDEX = """{% extends "layout" %}{% block body %}<ul>
{% for repo in repos %}<li><a href="/{{ repo.id.web_path }}">{{ repo.id.web_path }}</a></li>
{% else %}<li>No public repository yet.</li>{% endfor %}</ul>{% endblock %}"""

REPO = """{% extends "layout" %}{% block body %}
<p>Revision <a href="/{{ path }}/commit/{{ sha }}"><code>{{ sha }}</code></a> of {{ time }},
<a href="/{{ path }}/tree/{{ sha }}">files</a></p>
{% if labels %}<p>{% for label in labels %}<span class="tag">{{ label }}</span> {% endfor %}</p>
{% endif %}{% if tags %}<table><tr><th>Tag</th><th>Revision</th></tr>
{% for name, _, target in tags %}<tr><td>{{ name }}</td>
<td><a href="/{{ path }}/tree/{{ target }}"><code>{{ target }}</code></a></td></tr>
{% endfor %}</table>{% endif %}<hr>{{ card }}{% endblock %}"""

TREE = """{% extends "layout" %}{% block body %}
<p>Files at <a href="/{{ path }}/commit/{{ sha }}"><code>{{ sha }}</code></a></p><table>
<tr><th>File</th><th>Bytes</th></tr>{% for entry in entries %}
<tr><td><a href="/{{ path }}/resolve/{{ sha }}/{{ entry.path | urlencode }}">{{ entry.path }}</a>
</td><td>{{ entry.size_bytes }}</td></tr>{% endfor %}</table>{% endblock %}"""

COMMIT = """{% extends "layout" %}{% block body %}<h2>{{ subject }}</h2>
<p><code>{{ sha }}</code>, {{ author }}, {{ time }}{% if parent %}, after
<a href="/{{ path }}/commit/{{ parent }}"><code>{{ parent }}</code></a>{% endif %};
<a href="/{{ path }}/tree/{{ sha }}">files</a></p><pre>{{ message }}</pre>
<ul>{% for kind, file in changes %}<li>{{ kind }} {{ file }}</li>{% endfor %}</ul>{% endblock %}"""

TEMPLATES = jinja2.Environment(
    loader=jinja2.DictLoader(
        {"layout": LAYOUT, "index": INDEX, "repo": REPO, "tree": TREE, "commit": COMMIT}
    ),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
)


def _page(template: str, title: str, base: str = "", **values: Any) -> Response:
    html = TEMPLATES.get_template(template).render(title=title, base=base, **values)
    return HTMLResponse(html, headers=SAFE)


def index(request: Request) -> Response:
    """All repositories that the caller may see."""
    identity = caller(request)
    found = [
        r for r in hub(request).repos.all() if not r.settings().private or is_member(identity, r)
    ]
    return _page("index", "Repositories", repos=found)


def repo_page(request: Request) -> Response:
    """The card of a repository, its revision and its tags."""
    repo = repo_to_read(request)
    with repo.git() as git:
        head = history.resolve(git, "main")
        text, tags = card_text(git, head), history.refs(git, history.TAGS)
    sha = history.commit_id(head)
    return _page(
        "repo",
        repo.id.full_name,
        base=f"/{repo.id.web_path}/resolve/{sha}/",
        path=repo.id.web_path,
        sha=sha,
        time=history.commit_time(head),
        tags=tags,
        labels=_labels(text),
        card=Markup(MARKDOWN.render(cards.split_card(text)[1])),  # noqa: S704 - html is disabled
    )


def _labels(text: str) -> list[str]:
    try:
        return cards.card_tags(cards.card_data(text))
    except ValueError:
        return []


def tree_page(request: Request) -> Response:
    """All files at a revision."""
    repo = repo_to_download(request)
    with repo.git() as git:
        commit = history.resolve(git, revision(request))
        files = [entry for entry in history.entries(git, commit) if not entry.is_folder]
    sha = history.commit_id(commit)
    return _page("tree", repo.id.full_name, path=repo.id.web_path, sha=sha, entries=files)


def commit_page(request: Request) -> Response:
    """What a commit says and which files it changed."""
    repo = repo_to_download(request)
    with repo.git() as git:
        commit = history.resolve(git, revision(request))
        before, changes = history.parent(git, commit), _changes(git, commit)
    subject, message = history.title_and_message(commit)
    return _page(
        "commit",
        repo.id.full_name,
        path=repo.id.web_path,
        sha=history.commit_id(commit),
        subject=subject,
        message=message,
        author=history.author(commit),
        time=history.commit_time(commit),
        parent=before and history.commit_id(before),
        changes=changes,
    )


def _changes(git: GitRepo, commit: Commit) -> list[tuple[str, str]]:
    before = history.parent(git, commit)
    trees = (before.tree if before else None, commit.tree)
    return [
        ("added" if old is None else "changed" if new else "removed", (new or old).decode())
        for (old, new), _, _ in git.object_store.tree_changes(*trees)
    ]


ROUTES = [
    Route("/", index),
    *(
        route
        for repo in ("/datasets/{ns}/{name}", "/{ns}/{name}")
        for route in (
            Route(repo, repo_page),
            Route(repo + "/tree/{rev}", tree_page),
            Route(repo + "/commit/{rev}", commit_page),
        )
    ),
]

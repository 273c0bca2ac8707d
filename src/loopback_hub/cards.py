"""The README.md of a repository as the Hub reads it: its YAML front matter, and the text below.

Knows nothing of git or HTTP.
"""

import json
import re
from typing import Any

import yaml

# huggingface_hub.repocard_data finds the block with the same pattern
_FRONT_MATTER = re.compile(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\r|\n|$))")


def split_card(text: str) -> tuple[str, str]:
    """(front matter, text below it); the front matter is "" when there is none."""
    match = _FRONT_MATTER.match(text)
    return (match[2], text[match.end() :]) if match else ("", text)


def card_data(text: str) -> dict[str, Any]:
    """Metadata of a card as plain JSON values; ValueError when its front matter is no mapping."""
    try:
        data = yaml.safe_load(split_card(text)[0])
    except yaml.YAMLError as error:
        raise ValueError(f"Invalid YAML in the front matter: {error}") from error
    if not isinstance(data, dict | None):
        raise ValueError(f"The front matter must be a mapping, got {type(data).__name__}")
    plain: dict[str, Any] = json.loads(json.dumps(data or {}, default=str))
    return plain


def card_tags(data: dict[str, Any]) -> list[str]:
    """The tags that the Hub shows: those of the card, and its main fields as tags."""
    tags = data.get("tags") or []
    tags = [str(tag) for tag in (tags if isinstance(tags, list) else [tags])]
    for key in ("library_name", "pipeline_tag"):
        if isinstance(data.get(key), str):
            tags.append(data[key])
    if isinstance(data.get("license"), str):
        tags.append(f"license:{data['license']}")
    return list(dict.fromkeys(tags))

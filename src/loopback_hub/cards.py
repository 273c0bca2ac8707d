"""The README.md of a repository as the Hub reads it: its YAML front matter, and the text below.

Knows nothing of git or HTTP.
"""

import json
import re
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

# huggingface_hub.repocard_data finds the block with the same pattern
_FRONT_MATTER = re.compile(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\r|\n|$))")


def _known_license(name: str) -> str:
    if name not in _licenses():
        raise ValueError(f"{name!r} is no license id of the Hub, such as mit, apache-2.0 or other")
    return name


@cache
def _licenses() -> frozenset[str]:
    return frozenset(files(__package__).joinpath("licenses.txt").read_text("utf-8").split())


License = Annotated[str, AfterValidator(_known_license)]
Strings = list[str]


class _Task(BaseModel):
    type: str


class _Metric(BaseModel):
    type: str
    value: Any


class _Result(BaseModel):
    task: _Task
    metrics: list[_Metric] = Field(min_length=1)


class _Indexed(BaseModel):
    name: str
    results: list[_Result] = []


class _Metadata(BaseModel):
    """The fields whose form the Hub checks; every other name is free."""

    model_config = ConfigDict(extra="allow", strict=True)

    tags: Strings | None = None
    license: License | list[License] | None = None
    license_name: str | None = None
    language: str | Strings | None = None
    datasets: Strings | str | None = None
    metrics: Strings | None = None
    library_name: str | None = None
    pipeline_tag: str | None = None
    base_model: str | Strings | None = None
    inference: bool | str | dict[str, Any] | None = None
    model_index: list[_Indexed] | None = Field(None, alias="model-index")
    configs: list[dict[str, Any]] | None = None


def metadata_faults(data: dict[str, Any]) -> list[str]:
    """What the Hub would refuse in a card's metadata, one sentence a fault."""
    try:
        _Metadata.model_validate(data)
    except ValidationError as error:
        found: dict[str, str] = {}
        for fault in error.errors():
            place = ".".join(str(part) for part in fault["loc"] if not _is_branch(part))
            found.setdefault(place, fault["msg"].removeprefix("Value error, "))
        return [f'"{place}": {what}' for place, what in found.items()]
    return []


def _is_branch(part: int | str) -> bool:
    """Whether a part of an error's place names one of several allowed types, not a field."""
    return isinstance(part, str) and ("[" in part or part in ("str", "bool"))


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

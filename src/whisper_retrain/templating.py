"""Templates of card, report and figures; escapes all but Markdown."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any


def render(folder: Path, template: str, **values: Any) -> str:
    """Fill a template of a folder; an unknown name in it is an error."""
    return str(_environment(folder).get_template(template).render(values))


@cache
def _environment(folder: Path) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=select_autoescape(disabled_extensions=("md.jinja", "css"), default=True),
    )

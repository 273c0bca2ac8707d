"""A first retraining on recordings of one's own: what a person says of them. Starts nothing."""

from __future__ import annotations

import re
from pathlib import PurePath

from pydantic import Field

from whisper_retrain.config import REPO_PATTERN, Config, DatasetSource
from whisper_retrain.data.listed import ColumnRole

NAMESPACE = "demo"
"""The embedded Hub's own user, who may publish there."""


class OwnRecordings(Config):
    """The wish, as the command line took it."""

    source: DatasetSource
    """Where the recordings are; its columns are still to be guessed."""
    release: str = Field(pattern=REPO_PATTERN)
    """Hub repo to publish to."""
    columns: dict[ColumnRole, str | None] = Field(default_factory=dict)
    """Columns that the person named; the others are guessed."""
    shadow: bool = False
    """Go on where nothing can be decided: train, score and report, and never promote."""


def release_name(source: DatasetSource) -> str:
    """The Hub repo to publish to, when a person names none: one for each place."""
    name = PurePath(source.location.rstrip("/")).stem
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{NAMESPACE}/whisper-{slug or 'own'}"

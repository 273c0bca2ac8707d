"""Where recordings are, as a person names it in one word on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from whisper_retrain.config import REPO_PATTERN, DatasetSource
from whisper_retrain.errors import InputError


def source_at(place: str, **settings: Any) -> DatasetSource:
    """The source at a folder, an archive, an s3:// prefix or a Hub repo (namespace/name[@ref]).

    What exists as a path is one. `settings` are further fields of the source. Raises InputError
    for a word that is none of these.
    """
    if place.startswith("s3://"):
        return DatasetSource.model_validate({"kind": "s3", "location": place, **settings})
    path = Path(place).expanduser()
    if path.exists() or place.startswith((".", "/", "~")):
        found = {"kind": "folder", "location": str(path.absolute())}
        return DatasetSource.model_validate(found | settings)
    repo, _, ref = place.partition("@")
    if not re.fullmatch(REPO_PATTERN, repo):
        raise InputError(
            "no such place for recordings",
            where=place,
            expected="a folder, a .zip or .tar, s3://bucket/prefix, or a Hub repo namespace/name",
            remedy="a path is looked up from the folder you are in",
        )
    found = {"kind": "hub", "location": repo, "ref": ref or "main"}
    return DatasetSource.model_validate(found | settings)

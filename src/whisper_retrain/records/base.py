"""The form of all records: frozen, checked, known by a digest; and what a stage is asked to do.

Knows nothing of what the records are about.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value: sorted keys, no blanks, UTF-8, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of a value or record."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return hashlib.sha256(canonical_json(value)).hexdigest()


class Record(BaseModel):
    """A frozen value with a digest; equal content means equal digest on every machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    added: ClassVar[frozenset[str]] = frozenset()
    """Fields that came after records of this kind had been stored.

    At their default they are left out of the JSON: an older record keeps the digest that other
    records know it by.
    """

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        for name in self.added:
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if getattr(self, name) == default:
                values.pop(name, None)
        return values

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of all fields."""
        return digest_of(self)


T = TypeVar("T")

U = TypeVar("U")


class Pair(Record, Generic[T]):
    """One of each side; a difference is always challenger minus champion."""

    champion: T
    """Of the model that is the champion, or of the base model before the first."""
    challenger: T
    """Of the model that a gate is judging."""

    def map(self, change: Callable[[T], U]) -> Pair[U]:
        """The same of each side."""
        return Pair(champion=change(self.champion), challenger=change(self.challenger))


class Job(Record):
    """What a stage is asked to do: equal digests give equal results, on every machine.

    `version` is the only one that a stage has: raise it when the same inputs would mean another
    result.
    """

    stage: ClassVar[str]
    version: ClassVar[str]

    @property
    def inputs(self) -> dict[str, Any]:
        """What the result depends on: every field, unless a job knows better."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """sha256 over stage, version and inputs."""
        return digest_of([self.stage, self.version, self.inputs])

    @property
    def cache_key(self) -> str:
        """What Prefect knows the result by, within one store."""
        return f"{self.stage}/{self.digest}"

    @property
    def prefix(self) -> str:
        """Where everything lies in S3 that the stage stores for this job."""
        return f"{self.stage}/{self.version}/{self.digest}"

    @property
    def record_key(self) -> str:
        """Where the result's record lies, written last."""
        return f"{self.prefix}/record.json"


class Artifact(Record):
    """A stored, immutable object."""

    uri: str
    """s3://bucket/key."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the object's bytes, hex."""
    size_bytes: int = Field(ge=0)
    """Its length."""

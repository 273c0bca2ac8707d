"""Who is calling and what they may do. Pure rules over the tokens file; knows no repository."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from loopback_hub.answers import AnswerError


class Identity(BaseModel):
    """The holder of a token: a user, what the token may do, and the organizations it acts for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    role: Literal["read", "write"]
    orgs: tuple[str, ...] = ()

    def belongs_to(self, namespace: str) -> bool:
        """Whether the namespace is this user or one of their organizations."""
        return namespace == self.user or namespace in self.orgs


Tokens = Mapping[str, Identity]


def load_tokens(path: Path) -> Tokens:
    """Read the JSON file `token -> {user, role, orgs}`; ValueError says what is wrong with it."""
    return TypeAdapter(dict[str, Identity]).validate_python(json.loads(path.read_text("utf-8")))


def identify(authorization: str | None, tokens: Tokens) -> Identity | None:
    """The caller behind an Authorization header; None when there is none; 401 when it is wrong.

    The message is the one by which the client tells a bad token from a missing repository.
    """
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or token not in tokens:
        raise AnswerError(401, "Invalid credentials in Authorization header")
    return tokens[token]


def require_writer(identity: Identity | None, namespace: str) -> Identity:
    """Let through a write token of the namespace; 401 without a token, 403 for any other."""
    if identity is None:
        raise AnswerError(401, "Invalid username or password.")
    if identity.role != "write":
        raise AnswerError(
            403, f"The token of {identity.user} is read-only: a write token is needed"
        )
    if not identity.belongs_to(namespace):
        raise AnswerError(403, f"{identity.user} has no rights under the namespace {namespace}")
    return identity

"""The Hub client's errors as ours: what a person must mend, and what is worth a retry.

Knows nothing of what was asked for. The client has three families: its own HTTP errors, those of
its HTTP library, and the builtin ConnectionError of its Xet uploads; all are OSError or HTTPError.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from whisper_retrain.errors import (
    ConflictError,
    HubError,
    InputError,
    PermanentError,
    StorageFullError,
    WhisperRetrainError,
)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise this library's errors instead of the Hub client's."""
    import httpx2
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        yield
    except LocalTokenNotFoundError as error:
        raise InputError("no Hub token", where=where, remedy="set HF_TOKEN") from error
    except OfflineModeIsEnabled as error:
        raise InputError(
            "the Hub is switched off", where=where, remedy="unset HF_HUB_OFFLINE"
        ) from error
    except HFValidationError as error:
        raise InputError("not a name the Hub can have", where=where, got=str(error)) from error
    except HfHubHTTPError as error:
        raise _from_answer(where, error) from error
    except LocalEntryNotFoundError as error:
        raise HubError("the Hub could not be reached", where=where, got=_line(error)) from error
    except EntryNotFoundError as error:
        raise InputError("no such file", where=where, got=_line(error)) from error
    except (httpx2.HTTPError, OSError) as error:
        raise _from_transport(where, error) from error


def _from_answer(where: str, error: Any) -> WhisperRetrainError:
    """By the answer's error code first, since the same status means several things."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    remedies: list[tuple[type[Exception], str, str]] = [
        (GatedRepoError, "the repo is gated", "ask for access on its page, with HF_TOKEN's user"),
        (
            RepositoryNotFoundError,
            "no such repo on the Hub, or no right to read it",
            "check its name, and HF_TOKEN if it is private",
        ),
        (
            RevisionNotFoundError,
            "no such revision in the repo",
            "use a branch, tag or revision of it",
        ),
        (EntryNotFoundError, "no such file in the repo", "check the revision"),
    ]
    for kind, what, remedy in remedies:
        if isinstance(error, kind):
            return InputError(what, where=where, got=_line(error), remedy=remedy)
    return _from_status(where, error)


def _from_status(where: str, error: Any) -> WhisperRetrainError:
    status = int(getattr(error.response, "status_code", 0))
    got = f"{status}: {_line(error)}"
    if status == 401:
        remedy = "set HF_TOKEN to a valid token, from the Hub's settings, Access Tokens"
        return InputError("the Hub token is not valid", where=where, got=got, remedy=remedy)
    if status == 403:
        return InputError(
            "the Hub token may not do this",
            where=where,
            expected="a token with the role write in this namespace",
            got=got,
            remedy="make one in the Hub's settings, Access Tokens, and set HF_TOKEN",
        )
    if status in {409, 412}:
        return ConflictError("somebody else changed the repo first", where=where, got=got)
    if status == 507:
        return StorageFullError("the Hub has no room left", where=where, got=got)
    if status in {408, 429} or status >= 500:
        return HubError("the Hub failed", where=where, got=got)
    return PermanentError("the Hub refused the request", where=where, got=got)


def _from_transport(where: str, error: Exception) -> WhisperRetrainError:
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFullError(
            "no room left on this machine", where=where, got=str(error), remedy="set HF_HOME"
        )
    if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.ENOENT, errno.EROFS}:
        return InputError("a local file cannot be used", where=where, got=str(error))
    return HubError(
        "the Hub could not be reached",
        where=where,
        got=f"{type(error).__name__}: {_line(error)}",
        remedy="is HF_ENDPOINT right and the server up?",
    )


def _line(error: Exception) -> str:
    """What the server said, on one line: the client's text also holds request id and advice."""
    said = getattr(error, "server_message", None) or str(error)
    return " ".join(str(said).split())[:300]

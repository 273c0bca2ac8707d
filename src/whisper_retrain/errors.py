"""The two families of errors: a transient one is retried, a permanent one never.

A message says what happened, where, what was expected and what was there, and what to do.
"""

from typing import Self


class WhisperRetrainError(Exception):
    """Base of all errors that this library raises on purpose."""

    usual_remedy = "see the flow run's log; run again afterwards, what was finished is kept"
    stage = ""

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        expected: str = "",
        got: str = "",
        remedy: str = "",
    ) -> None:
        self.what, self.where, self.expected, self.got, self.remedy = (
            what,
            where,
            expected,
            got,
            remedy,
        )
        parts = [what]
        parts += [f"at {where}"] if where else []
        parts += [f"expected {expected}"] if expected else []
        parts += [f"got {got}"] if got else []
        parts += [f"remedy: {remedy}"] if remedy else []
        super().__init__("; ".join(parts))

    def during(self, stage: str) -> Self:
        """The same error, which also says in which stage; one that says so already stays."""
        if self.stage:
            return self
        named = type(self)(
            f"{stage} failed: {self.what}",
            where=self.where,
            expected=self.expected,
            got=self.got,
            remedy=self.remedy or self.usual_remedy,
        )
        named.stage = stage
        return named

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments are lost by the default pickling of exceptions.
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(cls: type[WhisperRetrainError], fields: dict[str, str]) -> WhisperRetrainError:
    error = cls(
        fields["what"],
        where=fields["where"],
        expected=fields["expected"],
        got=fields["got"],
        remedy=fields["remedy"],
    )
    error.stage = fields.get("stage", "")
    return error


class TransientError(WhisperRetrainError):
    """Likely gone on the next try: a time-out, a 5xx answer, a dropped connection."""

    usual_remedy = "run again: what was finished is kept"


class PermanentError(WhisperRetrainError):
    """The same on every try: bad input, missing rights, a broken promise."""


class InputError(PermanentError):
    """Something that a person gave is wrong: a parameter, a column, a file, a token."""


class ConflictError(PermanentError):
    """Somebody else changed the mutable thing first (a compare-and-swap lost)."""


class IntegrityError(PermanentError):
    """Stored bytes are not what their digest says."""


class StorageError(TransientError):
    """S3 could not be reached or failed."""


class StorageFullError(PermanentError):
    """The store has no room left."""


class HubError(TransientError):
    """The Hub could not be reached or failed."""


class OutOfMemoryError(PermanentError):
    """The machine or the GPU has too little memory even for one utterance at a time."""


class DivergedError(PermanentError):
    """The training loss is no finite number any more."""


class InterruptedTrainingError(TransientError):
    """Training was stopped from outside and saved its training state; a rerun resumes there."""

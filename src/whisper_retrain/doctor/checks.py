"""What a check is: values, and the one error that lists all failures. Checks nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from whisper_retrain.config import BaseModelConfig, DatasetConfig, ReleaseConfig, TrainingConfig
from whisper_retrain.errors import InputError, TransientError, WhisperRetrainError

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class CheckScope:
    """What is going to be used; what is None is not looked at."""

    dataset: DatasetConfig | None = None
    """Its sources are looked at."""
    base_model: BaseModelConfig | None = None
    """Its files are."""
    release: ReleaseConfig | None = None
    """The repo and the right to write to it."""
    training: TrainingConfig | None = None
    """Whether the machine can do what it asks for."""


@dataclass(frozen=True)
class CheckResult:
    """What one check found; `transient`: it may well pass on the next try."""

    name: str
    """Of the check."""
    status: Status
    """A warning stops nothing."""
    found: str
    """What there is, a sentence."""
    remedy: str = ""
    """What to do; empty where all is well."""
    transient: bool = False
    """Whether it may pass on the next try."""


@dataclass(frozen=True)
class Check:
    """A named look at one thing; `look` returns a result or raises an error of this library."""

    name: str
    """As it is shown."""
    look: Callable[[str], CheckResult]
    """Takes the name, gives the result."""

    def run(self) -> CheckResult:
        """The result; an error is a failure with the error's own remedy."""
        try:
            return self.look(self.name)
        except WhisperRetrainError as error:
            return failure(self.name, error)


def failure(name: str, error: WhisperRetrainError) -> CheckResult:
    """An error as a result."""
    parts = [error.what]
    parts += [f"at {error.where}"] if error.where else []
    parts += [f"expected {error.expected}"] if error.expected else []
    parts += [f"got {error.got}"] if error.got else []
    return CheckResult(
        name, "failed", "; ".join(parts), error.remedy, isinstance(error, TransientError)
    )


def require(results: Sequence[CheckResult]) -> None:
    """Raise one error that lists all failures: InputError, or TransientError if all may pass."""
    failed = [result for result in results if result.status == "failed"]
    if not failed:
        return
    lines = [f"\n  {one.name}: {one.found}; remedy: {one.remedy or 'see above'}" for one in failed]
    kind = TransientError if all(one.transient for one in failed) else InputError
    raise kind(
        f"{len(failed)} of {len(results)} checks failed:{''.join(lines)}\n",
        remedy="mend these, then run again; `whisper-retrain doctor` checks without running",
    )

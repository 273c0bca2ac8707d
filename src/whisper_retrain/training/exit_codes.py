"""How a training process ends: its exit codes, and the error it leaves beside its record.

Imports no torch. Under torchrun the exit code is lost, hence the file; after a kill there is no
file, hence the codes.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

from whisper_retrain import errors
from whisper_retrain.errors import WhisperRetrainError
from whisper_retrain.whole import write_first

# Of sysexits.h where it has a fitting one.
EXIT_CODES: dict[type[WhisperRetrainError], int] = {
    errors.InputError: 64,
    errors.DivergedError: 65,
    errors.OutOfMemoryError: 71,
    errors.PermanentError: 70,
    errors.InterruptedTrainingError: 75,
    errors.TransientError: 69,
}
FIELDS = ("what", "where", "expected", "got", "remedy")


def exit_code(error: WhisperRetrainError) -> int:
    """The code of the nearest class that has one."""
    return next(
        (EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES),
        EXIT_CODES[errors.PermanentError],
    )


def error_file(record: Path) -> Path:
    """Where a process that was to write `record` leaves its error."""
    return record.with_suffix(".error.json")


def leave_error(record: Path, error: WhisperRetrainError) -> None:
    """Write the error for the parent; the first process to fail says it."""
    fields = {name: getattr(error, name) for name in FIELDS}
    text = json.dumps({"type": type(error).__name__, **fields}, indent=1)
    write_first(error_file(record), text)


def error_of(record: Path, code: int, stderr_tail: str) -> WhisperRetrainError:
    """The error that a process which ended without a record died of."""
    if error_file(record).exists():
        fields = json.loads(error_file(record).read_text())
        kind = getattr(errors, fields["type"], errors.PermanentError)
        error: WhisperRetrainError = kind(
            fields["what"], **{name: fields[name] for name in FIELDS[1:]}
        )
        return error
    where = "the training process"
    if code in _killed_by(signal.SIGKILL):
        return errors.TransientError(
            "training was killed",
            where=where,
            got=f"exit code {code}",
            remedy="run again, it resumes; if the machine ran out of memory, set a smaller "
            "micro_batch_audio_s",
        )
    if code in _killed_by(signal.SIGTERM):
        return errors.InterruptedTrainingError(
            "training was stopped before it could save its state", where=where
        )
    return errors.PermanentError(
        "training failed", where=where, got=f"exit code {code}; it last wrote: {stderr_tail}"
    )


def _killed_by(number: signal.Signals) -> tuple[int, int]:
    """How the end by a signal is said: by Python's subprocess, and by shells and torchrun."""
    return -number, 128 + number

"""What a training says while it runs, as JSON lines between the child process and its parent.

Imports no torch: the parent reads with it what the child writes with it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from pydantic import ValidationError

from whisper_retrain.records import Record

Phase = Literal["starting", "loading", "training", "validating", "saving", "done"]
QUIET_S = 5.0  # after so long without news the last news are said again


class Progress(Record):
    """What is going on and how far it is; None where it is not known."""

    phase: Phase
    """What is going on."""
    message: str = ""
    """More of it."""
    done: int = 0
    """Of the phase; 0 with nothing to count."""
    of: int = 0
    """How many there are."""
    step: int = 0
    """Optimizer steps done."""
    total_steps: int = 0
    """Planned."""
    elapsed_s: float = 0.0
    """Of this process."""
    eta_s: float | None = None
    """Time left."""
    loss: float | None = None
    """Of the last step, nats by label id."""
    wer: float | None = None
    """Of the last validation, a fraction."""
    learning_rate: float | None = None
    """Of the last step."""
    audio_s_per_s: float | None = None
    """Seconds of audio in a second."""
    compute_share: float | None = None
    """Of the device's peak, a fraction."""
    memory_bytes: int | None = None
    """The most in use so far."""

    def line(self) -> str:
        """One line for a person."""
        parts = [f"{self.phase}: {self.message}" if self.message else self.phase]
        parts += [f"{self.done}/{self.of}"] if self.of else []
        parts += [f"step {self.step}/{self.total_steps}"] if self.total_steps else []
        parts += [f"loss {self.loss:.3f}"] if self.loss is not None else []
        parts += [f"WER {100 * self.wer:.1f} %"] if self.wer is not None else []
        parts += [f"{self.audio_s_per_s:.0f} audio-s/s"] if self.audio_s_per_s else []
        parts += [f"{100 * self.compute_share:.0f} % of peak"] if self.compute_share else []
        parts += [f"{self.memory_bytes / 2**30:.1f} GiB"] if self.memory_bytes else []
        parts += [f"ETA {self.eta_s:.0f} s"] if self.eta_s is not None else []
        return ", ".join(parts)


def parse(line: str) -> Progress | None:
    """The progress that a line of the child's output holds, or None for any other line."""
    if not line.startswith('{"phase":'):
        return None
    try:
        return Progress.model_validate_json(line)
    except ValidationError:
        return None


def to_stdout(progress: Progress) -> None:
    """Write one JSON line; a parent that has gone is no reason to lose the training."""
    try:
        sys.stdout.write(progress.model_dump_json() + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = sys.__stderr__


class Reporter:
    """Says news at once and the last news again when nothing has been said for a while."""

    def __init__(self, emit: Callable[[Progress], None], quiet_s: float = QUIET_S) -> None:
        self._emit, self._quiet_s = emit, quiet_s
        self._began = self._said = time.monotonic()
        self._last = Progress(phase="starting")
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="progress", daemon=True)

    def __enter__(self) -> Reporter:
        self.say("starting")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def say(self, phase: Phase, message: str = "", **news: Any) -> None:
        """News; fields that are not named keep their last value, but `done` and `of`."""
        with self._lock:
            fields = {"message": message, "done": 0, "of": 0, **news, "phase": phase}
            self._send(self._last.model_copy(update=fields))

    def _send(self, progress: Progress) -> None:
        self._said = time.monotonic()
        elapsed_s = round(self._said - self._began, 2)
        self._last = progress.model_copy(update={"elapsed_s": elapsed_s})
        self._emit(self._last)

    def _repeat(self) -> None:
        while not self._stop.wait(min(0.5, self._quiet_s)):
            with self._lock:
                if time.monotonic() - self._said >= self._quiet_s:
                    self._send(self._last)

"""Experiment tracking: where curves go while a training runs.

Weights & Biases, online with a key in the environment, else in its offline files, which
`wandb sync` uploads later. A tracker that fails never stops a training: it warns and goes quiet.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

logger = logging.getLogger(__name__)


class Tracker(Protocol):
    """Takes figures by step."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of one step; steps never go back."""

    def finish(self) -> str | None:
        """No more figures; the URL where they are shown, if there is one."""

    @property
    def files(self) -> list[Path]:
        """Files that hold the figures, complete once the process has ended the run."""


class NoTracker:
    """Tracks nothing."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Nothing."""

    def finish(self) -> str | None:
        """No URL."""
        return None

    @property
    def files(self) -> list[Path]:
        """None."""
        return []


class WandbTracker:
    """One W&B run."""

    def __init__(
        self,
        project: str,
        name: str | None,
        config: Mapping[str, Any],
        directory: Path,
        resume_id: str | None = None,
    ) -> None:
        import wandb

        directory.mkdir(parents=True, exist_ok=True)
        # All of W&B's folders, or it writes into the home directory.
        for variable in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            os.environ.setdefault(variable, str(directory))
        has_key = bool(os.environ.get("WANDB_API_KEY"))
        mode = os.environ.get("WANDB_MODE") or ("online" if has_key else "offline")
        os.environ["WANDB_MODE"] = mode  # W&B reads it, and says so itself of a word that is none
        self._shown = mode == "online"
        self._run = wandb.init(
            project=project,
            name=name,
            id=resume_id,
            resume="allow" if resume_id and mode == "online" else None,
            config=dict(config),
            dir=str(directory),
            settings=wandb.Settings(silent=True, console="off", disable_git=True),
        )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of one step."""
        self._run.log(dict(figures), step=step)

    def finish(self) -> str | None:
        """Close the run; its URL when it is online."""
        import wandb

        url = self._run.url if self._shown else None
        self._run.finish()
        # On a busy machine finish() returns before W&B's own process has written its file.
        wandb.teardown()
        return str(url) if url else None

    @property
    def files(self) -> list[Path]:
        """The run's own file, for `wandb sync`."""
        return sorted(Path(self._run.dir).parent.glob("*.wandb"))


class Guarded:
    """A tracker whose failures are said once and cost nothing."""

    def __init__(self, inner: Tracker) -> None:
        self._inner: Tracker = inner

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of one step, unless tracking has failed."""
        try:
            self._inner.log(step, figures)
        except Exception as error:  # noqa: BLE001 - curves are never worth a training
            self._give_up(error)

    def finish(self) -> str | None:
        """Close the run, if that works."""
        try:
            return self._inner.finish()
        except Exception as error:  # noqa: BLE001 - see above
            self._give_up(error)
            return None

    @property
    def files(self) -> list[Path]:
        """The inner tracker's files."""
        return self._inner.files

    def _give_up(self, error: Exception) -> None:
        logger.warning("tracking failed and is off from here: %s: %s", type(error).__name__, error)
        self._inner = NoTracker()


def open_tracker(
    mode: str,
    project: str,
    name: str | None,
    config: Mapping[str, Any],
    directory: Path,
    resume_id: str | None = None,
) -> Tracker:
    """A W&B tracker, or none when `mode` is "off" or W&B cannot be started."""
    if mode == "off":
        return NoTracker()
    try:
        return Guarded(WandbTracker(project, name, config, directory, resume_id))
    except Exception as error:  # noqa: BLE001 - curves are never worth a training
        logger.warning("tracking is off: %s: %s", type(error).__name__, error)
        return NoTracker()

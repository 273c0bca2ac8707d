"""What the pages need, put together once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whisper_retrain.app.accounts import Accounts
from whisper_retrain.app.calibrations import Calibrations
from whisper_retrain.app.correction_store import CorrectionStore
from whisper_retrain.app.desk import Desk
from whisper_retrain.app.examples import Examples
from whisper_retrain.app.known import KnownSpeechReader
from whisper_retrain.app.models import Models, Release
from whisper_retrain.edges.hub import Hub
from whisper_retrain.edges.store import ObjectStore


@dataclass(frozen=True)
class Services:
    """The outside world and what the app keeps of it."""

    store: ObjectStore
    """Corrections, calibrations, retrainings: S3."""
    hub: Hub
    """Where champions are."""
    release: Release
    """Which repo and tag."""
    models: Models
    """Loaded ones."""
    desk: Desk
    """Recordings under way."""
    corrections: CorrectionStore
    """What people sent."""
    known: KnownSpeechReader
    """What the dataset holds."""
    calibrations: Calibrations
    """Worth of the champion's doubts."""
    examples: Examples
    """Recordings to try."""
    cache_dir: Path
    """For files."""
    accounts: Accounts | None
    """None where the app is bound to loopback: whoever sits there is a reviewer."""

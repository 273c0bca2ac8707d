"""What one recording came out as, by each model that heard it. Pure values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from whisper_retrain.evaluation.transcriber import Word

ModelRole = Literal["champion", "previous", "base"]
ROLE_NAMES: dict[ModelRole, str] = {
    "champion": "Champion",
    "previous": "Previous champion",
    "base": "Base model",
}


@dataclass(frozen=True)
class ModelAt:
    """A model on the Hub."""

    repo: str
    """On the Hub."""
    revision: str
    """40 hex digits."""

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision[:8]}"


@dataclass(frozen=True)
class Hearing:
    """One model's transcript of the recording."""

    model: ModelAt
    """Who wrote it."""
    text: str
    """The transcript."""
    words: tuple[Word, ...]
    """With times and probabilities."""
    elapsed_s: float
    """Computing time, without the wait in the queue and without loading the model."""


@dataclass(frozen=True)
class Speech:
    """A recording as it was decoded."""

    audio_sha256: str
    """Of the 16 kHz samples: the digest that the dataset knows recordings by."""
    duration_s: float
    """Of the audio."""
    num_samples: int
    """At 16 kHz."""
    sampling_rate_hz: int
    """Before resampling."""
    level_dbfs: float
    """RMS level."""
    clipped_share: float
    """Share of samples at full scale."""


@dataclass(frozen=True)
class Transcription:
    """A recording and what each model wrote."""

    speech: Speech
    """What was heard."""
    hearings: dict[ModelRole, Hearing]
    """What each model wrote."""
    at: datetime
    """When, UTC."""

    @property
    def champion(self) -> Hearing:
        """The champion's transcript, which is always there."""
        return self.hearings["champion"]

    def facts(self) -> dict[str, object]:
        """As plain values, for the JSON download."""
        return {
            "at": self.at.isoformat(),
            "recording": asdict(self.speech),
            "transcripts": {
                role: {
                    "model": asdict(hearing.model),
                    "text": hearing.text,
                    "words": [asdict(word) for word in hearing.words],
                    "elapsed_s": round(hearing.elapsed_s, 3),
                }
                for role, hearing in self.hearings.items()
            },
        }

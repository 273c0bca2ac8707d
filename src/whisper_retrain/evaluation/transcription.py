"""What goes with transcribing a test set: signs of life while a batch runs, and how noisy it is.

Knows nothing of models.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from whisper_retrain.evaluation.transcriber import Audio
from whisper_retrain.whisper_constants import SAMPLING_RATE_HZ

Progress = Callable[[int, int, str], None]
"""Called with utterances done, utterances in all, and what is going on."""

SILENT_S = 8.0
"""No stretch without a call of the progress function is longer than this."""


@contextmanager
def heartbeat(report: Callable[[float], None], every_s: float = SILENT_S) -> Iterator[None]:
    """Call `report` with the seconds gone by, every so often, while the block runs."""
    done, start = threading.Event(), time.monotonic()

    def beat() -> None:
        while not done.wait(every_s):
            report(time.monotonic() - start)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


FRAME_S = 0.02
"""Of speech, within which its loudness hardly changes."""
LEAST_FRAMES = 10
LOUD_PERCENTILE, QUIET_PERCENTILE = 95, 10
NO_POWER = 1e-12
"""Added, so that digital silence has a logarithm."""


def estimate_snr_db(audio: Audio) -> float | None:
    """Loud over quiet frames in dB (95th over 10th percentile of power); None when too short.

    A rough figure, good for sorting recordings into clean and noisy, without a speech detector.
    """
    width = int(FRAME_S * SAMPLING_RATE_HZ)
    frames = audio[: len(audio) // width * width].reshape(-1, width)
    if len(frames) < LEAST_FRAMES:
        return None
    power = np.mean(np.square(frames, dtype=np.float64), axis=1) + NO_POWER
    loud, quiet = np.percentile(power, [LOUD_PERCENTILE, QUIET_PERCENTILE])
    return round(float(10 * np.log10(loud / quiet)), 2)

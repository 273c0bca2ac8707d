"""Trying again, with growing pauses of random length, what failed for a reason that may pass.

For one effect inside a task; whole tasks are retried by Prefect (`tasks/policies.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from whisper_retrain.errors import TransientError

T = TypeVar("T")
logger = logging.getLogger(__name__)


def retried(
    action: Callable[[], T],
    *,
    on: type[Exception] = TransientError,
    attempts: int | None = None,
    patience_s: float | None = None,
    first_pause_s: float = 1.0,
    longest_pause_s: float = 30.0,
) -> T:
    """The action's result; tried so often, or for so long, then its last error goes on."""
    from tenacity import (
        Retrying,
        before_sleep_log,
        retry_if_exception_type,
        stop_after_attempt,
        stop_after_delay,
        stop_any,
        wait_exponential_jitter,
    )

    retrying = Retrying(
        retry=retry_if_exception_type(on),
        stop=stop_any(
            *([stop_after_attempt(attempts)] if attempts is not None else []),
            *([stop_after_delay(patience_s)] if patience_s is not None else []),
        ),
        wait=wait_exponential_jitter(
            initial=first_pause_s, max=longest_pause_s, jitter=first_pause_s
        ),
        before_sleep=before_sleep_log(logger, logging.WARNING),
        reraise=True,
    )
    return retrying(action)

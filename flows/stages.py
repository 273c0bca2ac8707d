"""What a flow fails with says in which stage, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from prefect.exceptions import PrefectException

from whisper_retrain.errors import PermanentError, WhisperRetrainError

P = ParamSpec("P")
R = TypeVar("R")


def stage(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Name the stage in whatever the flow below `@flow` raises; the innermost stage is named.

    Prefect's own exceptions (a cancellation) pass as they are.
    """

    def named(work: Callable[P, R]) -> Callable[P, R]:
        @wraps(work)
        def stage_work(*arguments: P.args, **keywords: P.kwargs) -> R:
            try:
                return work(*arguments, **keywords)
            except PrefectException:
                raise
            except WhisperRetrainError as error:
                told = error.during(name)
                if told is error:  # its own cause it can't be: nothing could pickle it
                    raise
                raise told from error
            except Exception as error:
                unexpected = PermanentError("an error that nobody expected", got=repr(error))
                raise unexpected.during(name) from error

        # Prefect makes the Run form from the types, whose names only the flow's own module knows.
        vars(stage_work)["__signature__"] = signature(work, eval_str=True)
        return stage_work

    return named

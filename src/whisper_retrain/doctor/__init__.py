"""The doctor: whether everything that a retraining needs is there, before anything expensive.

    results = run_checks(CheckScope(dataset=..., base_model=..., release=...), settings)
    require(results)      # raises one error that lists every failure

Each check is a value: name, status, what was found, and what to do about it. Reads no audio,
imports no torch, and leaves nothing behind but a deleted probe object.
"""

from whisper_retrain.doctor.checks import CheckResult, CheckScope, require
from whisper_retrain.doctor.run import run_checks

__all__ = ["CheckResult", "CheckScope", "require", "run_checks"]

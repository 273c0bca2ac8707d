"""A transcript as a clinician reads it: what it says otherwise, and how grave that is."""

from whisper_retrain.clinical.compare import LANGUAGES, find_harm
from whisper_retrain.clinical.findings import (
    KINDS,
    SEVERITIES,
    SEVERITY,
    Finding,
    FindingKind,
    Severity,
)
from whisper_retrain.clinical.risk import at_risk
from whisper_retrain.clinical.words import Names

__all__ = [
    "KINDS",
    "LANGUAGES",
    "SEVERITIES",
    "SEVERITY",
    "Finding",
    "FindingKind",
    "Names",
    "Severity",
    "at_risk",
    "find_harm",
]

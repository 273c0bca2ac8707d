"""The difference between two models in named parts of the test set, for reading.

The gate's own rules are in the decision; this shows where the change comes from. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whisper_retrain.gate.measures import block_views, paired
from whisper_retrain.gate.statistics import Comparison, compare
from whisper_retrain.records import total
from whisper_retrain.release.diffs import Change

ALPHA = 0.025
REPLICATES = 2_000
MIN_UTTERANCES = 5
MAX_PER_GROUP = 12


@dataclass(frozen=True)
class Slice:
    """One part of the test set under both models; error rates are fractions."""

    group: str
    name: str
    utterances: int
    wer_before: float
    wer_after: float
    comparison: Comparison


def slices_of(changes: Sequence[Change]) -> list[Slice]:
    """The whole test set first, then parts by duration, noise, sampling rate, prompt, speaker.

    Parts of fewer than MIN_UTTERANCES are left out; of many parts, the largest are kept.
    """
    found = [_slice("All", "Whole test set", changes)]
    for group, name_of in _GROUPS.items():
        parts: dict[str, list[Change]] = {}
        for change in changes:
            if name := name_of(change):
                parts.setdefault(name, []).append(change)
        large = [name for name, part in parts.items() if len(part) >= MIN_UTTERANCES]
        if len(large) < 2:
            continue
        kept = sorted(large, key=lambda name: -len(parts[name]))[:MAX_PER_GROUP]
        found += [_slice(group, name, parts[name]) for name in sorted(kept, key=_natural)]
    return found


def _slice(group: str, name: str, changes: Sequence[Change]) -> Slice:
    before, after = ([getattr(one, side) for one in changes] for side in ("before", "after"))
    comparison = compare(
        paired(before, after, "words"), block_views(before), alpha=ALPHA, replicates=REPLICATES
    )
    return Slice(
        group=group,
        name=name,
        utterances=len(changes),
        wer_before=total(row.words for row in before).error_rate,
        wer_after=total(row.words for row in after).error_rate,
        comparison=comparison,
    )


def _natural(name: str) -> list[int | str]:
    """Sort key by which "8 kHz" comes before "16 kHz"."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if part.isdecimal() else part for part in parts]


def _banded(value: float, names: dict[float, str], above: str) -> str:
    """The name of the first band whose upper bound lies above the value."""
    return next((name for bound, name in names.items() if value < bound), above)


def _duration(change: Change) -> str:
    bands = {2.0: "0 to 2 s", 4.0: "2 to 4 s", 8.0: "4 to 8 s"}
    return _banded(change.before.duration_s, bands, "8 s and more")


def _noise(change: Change) -> str | None:
    if change.before.snr_db is None:
        return None
    bands = {10.0: "below 10 dB", 20.0: "from 10 dB", 30.0: "from 20 dB"}
    return _banded(change.before.snr_db, bands, "from 30 dB")


def _sampling_rate(change: Change) -> str | None:
    rate_hz = change.before.sampling_rate_hz
    return None if rate_hz is None else f"{rate_hz / 1000:g} kHz"


_GROUPS: dict[str, Callable[[Change], str | None]] = {
    "Duration": _duration,
    "Signal-to-noise ratio": _noise,
    "Sampling rate": _sampling_rate,
    "Prompt": lambda change: change.before.prompt,
    "Speaker": lambda change: change.before.speaker,
}

"""Charts of a dataset as plain values: columns stacked by split, drawn by the template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from whisper_retrain.data.manifest import Utterance
from whisper_retrain.records import DatasetRevision

SPLITS = ("train", "validation", "test")
BINS = 30
SHOWN_SPEAKERS = 150
SHOWN_PROMPTS = 30
MAX_LABELS = 6


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a chart: its label, and a height for each split in percent of the highest."""

    label: str
    """Written below it."""
    heights: tuple[float, float, float]
    """Of train, validation and test, percent of the highest column."""
    hint: str
    """Shown when pointed at."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns, stacked by split; `low` and `high` are written below its ends."""

    title: str
    """Above the chart."""
    columns: tuple[Column, ...]
    """From left to right."""
    low: str
    """Below its left end."""
    high: str
    """Below its right end."""

    @property
    def labelled(self) -> bool:
        """Whether there is room for each column's own label."""
        return len(self.columns) <= MAX_LABELS


def columns_of(counts: Sequence[tuple[str, dict[str, float]]], unit: str) -> tuple[Column, ...]:
    """Columns of labels and amounts per split, scaled to the highest."""
    highest = max((sum(amounts.values()) for _, amounts in counts), default=0) or 1
    return tuple(
        Column(
            label,
            (
                round(100 * amounts.get("train", 0) / highest, 2),
                round(100 * amounts.get("validation", 0) / highest, 2),
                round(100 * amounts.get("test", 0) / highest, 2),
            ),
            f"{label}: " + ", ".join(f"{amounts[s]:g} {unit} {s}" for s in SPLITS if s in amounts),
        )
        for label, amounts in counts
    )


def histogram(
    title: str, utterances: Sequence[Utterance], of: Callable[[Utterance], float]
) -> Chart:
    """How a property is distributed, from the smallest to the largest value."""
    values = [(of(u), u.split) for u in utterances]
    low, high = min(v for v, _ in values), max(v for v, _ in values)
    width = (high - low) / BINS or 1.0
    bins: list[Counter[str]] = [Counter() for _ in range(BINS)]
    for value, split in values:
        bins[min(int((value - low) / width), BINS - 1)][split] += 1
    counts = [
        (f"{low + i * width:.1f} to {low + (i + 1) * width:.1f}", dict[str, float](found))
        for i, found in enumerate(bins)
    ]
    return Chart(title, columns_of(counts, "in"), f"{low:.1f}", f"{high:.1f}")


def ranking(title: str, values: Iterable[tuple[str, str]], shown: int) -> Chart:
    """Utterances by a label, the most frequent first."""
    by_label: dict[str, Counter[str]] = {}
    for label, split in values:
        by_label.setdefault(label, Counter())[split] += 1
    ordered = sorted(by_label.items(), key=lambda item: (-item[1].total(), item[0]))[:shown]
    counts = [(label, dict[str, float](found)) for label, found in ordered]
    high = f"{len(by_label)} in all" + (f", {shown} shown" if len(by_label) > shown else "")
    return Chart(title, columns_of(counts, "in"), "most frequent", high)


def growth(revisions: Sequence[DatasetRevision]) -> Chart:
    """Hours of each split over the revisions."""
    counts = [
        (r.digest[:8], {s: round(r.splits[s].hours, 4) for s in SPLITS if s in r.splits})
        for r in revisions
    ]
    return Chart("Hours over revisions", columns_of(counts, "h"), "oldest", "this one")


def all_charts(utterances: Sequence[Utterance], history: Sequence[DatasetRevision]) -> list[Chart]:
    """The charts of a report; `history` oldest first."""
    speakers = ((u.speaker or "unknown", u.split) for u in utterances)
    prompts = ((u.prompt or "none", u.split) for u in utterances)
    rates = ((str(u.sampling_rate_hz), u.split) for u in utterances)
    return [
        histogram("Duration (s)", utterances, lambda u: u.duration_s),
        histogram("Level (dBFS)", utterances, lambda u: u.level_dbfs),
        histogram(
            "Speaking rate (characters/s)", utterances, lambda u: len(u.phrase) / u.duration_s
        ),
        ranking("Utterances by speaker", speakers, SHOWN_SPEAKERS),
        ranking("Utterances by prompt", prompts, SHOWN_PROMPTS),
        ranking("Native sampling rate (Hz)", rates, SHOWN_PROMPTS),
        growth(history),
    ]

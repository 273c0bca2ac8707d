"""What changed from one dataset revision to another, and how far the new speech is of its kind.

Pure; compares manifests.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from whisper_retrain.data.manifest import Utterance
from whisper_retrain.records import Record

# Cohen (1988): 0.2 is a small, 0.5 a medium, 0.8 a large standardized difference of means.
NOTEWORTHY_DRIFT = 0.5
SHOWN_WORDS = 50


class Drift(Record):
    """One property of the utterances before and of the new ones; medians and Cohen's d."""

    before: float
    """Median of the utterances that were there, in the property's unit."""
    new: float
    """Median of the new ones."""
    effect: float
    """Cohen's d: difference of the means in standard deviations."""

    @property
    def noteworthy(self) -> bool:
        """Whether the new speech is clearly of another kind."""
        return abs(self.effect) >= NOTEWORTHY_DRIFT


class RevisionDiff(Record):
    """What changed; `new_words` with the most frequent first."""

    new: int
    """Utterances."""
    changed: int
    """With another audio or reference."""
    removed: int
    """Utterances that are gone."""
    moved: int
    """In another split."""
    new_hours: float
    """Of audio."""
    removed_hours: float
    """Of audio."""
    new_speakers: tuple[str, ...]
    """By name."""
    new_words: tuple[str, ...]
    """Never said before, the most frequent first; some of them."""
    new_word_count: int
    """How many there are in all."""
    drift: dict[str, Drift]
    """Property -> how the new speech differs."""


PROPERTIES: Mapping[str, Callable[[Utterance], float]] = {
    "duration_s": lambda u: u.duration_s,
    "level_dbfs": lambda u: u.level_dbfs,
    "characters_per_s": lambda u: len(u.phrase) / u.duration_s,
}


def diff_revisions(before: Sequence[Utterance], after: Sequence[Utterance]) -> RevisionDiff:
    """Compare two manifests by utterance id."""
    earlier, later = {u.id: u for u in before}, {u.id: u for u in after}
    new = [u for key, u in later.items() if key not in earlier]
    removed = [u for key, u in earlier.items() if key not in later]
    both = [(earlier[key], later[key]) for key in later if key in earlier]
    known_words = set(_words(before))
    words = Counter(word for word in _words(new) if word not in known_words)
    known_speakers = {u.speaker for u in before}
    return RevisionDiff(
        new=len(new),
        changed=sum(_content(was) != _content(now) for was, now in both),
        removed=len(removed),
        moved=sum(was.split != now.split for was, now in both),
        new_hours=_hours(new),
        removed_hours=_hours(removed),
        new_speakers=tuple(sorted({u.speaker for u in new if u.speaker} - known_speakers)),
        new_words=tuple(
            word for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0]))
        )[:SHOWN_WORDS],
        new_word_count=len(words),
        drift=_drift(before, new),
    )


def _words(utterances: Iterable[Utterance]) -> Iterable[str]:
    return (word for u in utterances for word in u.phrase.split())


def _content(u: Utterance) -> tuple[str, str]:
    return u.reference, u.audio_sha256


def _hours(utterances: Iterable[Utterance]) -> float:
    return round(sum(u.duration_s for u in utterances) / 3600, 6)


def _drift(before: Sequence[Utterance], new: Sequence[Utterance]) -> dict[str, Drift]:
    if len(before) < 2 or len(new) < 2:
        return {}
    return {
        name: _compare([of(u) for u in before], [of(u) for u in new])
        for name, of in PROPERTIES.items()
    }


def _compare(before: Sequence[float], new: Sequence[float]) -> Drift:
    """Cohen's d with the root mean square of both standard deviations."""
    spread = ((statistics.variance(before) + statistics.variance(new)) / 2) ** 0.5
    difference = statistics.fmean(new) - statistics.fmean(before)
    return Drift(
        before=round(statistics.median(before), 3),
        new=round(statistics.median(new), 3),
        effect=round(difference / spread, 3) if spread > 0 else 0.0,
    )

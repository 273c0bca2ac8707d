"""Figures with intervals, placed on tracks: of the rules, of the scores, of the slices.

Turns values into texts and percentages for the report's template; knows no HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whisper_retrain.gate.slices import SliceComparison
from whisper_retrain.records import Interval, Metric, ModelScores, RuleOutcome
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.release.scores import (
    ROLE_NAMES,
    interval_text,
    percent_text,
    points_text,
)
from whisper_retrain.report.figures import Scale, Track, scale_over, track

MAX_SLICES = 12
"""Shown of one kind: the worst changes."""
REACH_OF_INTERVAL, REACH_OF_ESTIMATES = 1.5, 1.2
"""How far the slices' scale goes beyond the first interval, and beyond every estimate."""
LEAST_REACH = 0.005
"""Half a point: narrower, and noise would fill the figure."""


@dataclass(frozen=True)
class Bar:
    """One line of a figure: a name, a figure with its interval, and where they are drawn."""

    name: str
    """What is measured."""
    note: str
    """Smaller, beside the name."""
    text: str
    """The figure."""
    interval: str
    """Its ends, as text."""
    track: Track
    """Where it is drawn."""
    tone: str
    """Which colour: good, bad, unsure, main, other."""


@dataclass(frozen=True)
class Figure:
    """Bars on one scale; in percent from the left, `zero` is no difference, `bound` the rule's."""

    bars: tuple[Bar, ...]
    """From top to bottom."""
    ticks: tuple[tuple[float, str], ...]
    """Percent from the left, and what is written there."""
    zero: float | None = None
    """Percent from the left; None: not drawn."""
    bound: float | None = None
    """Percent from the left; None: not drawn."""
    left_out: int = 0
    """Bars that are not shown."""


def rule_figure(rule: RuleOutcome) -> Figure | None:
    """The interval of a difference against zero and the rule's bound; None without an interval."""
    if rule.interval is None or rule.figure is None:
        return None
    scale = scale_over([rule.interval.low, rule.interval.high, rule.figure, rule.bound or 0.0])
    tone = {"pass": "good", "fail": "bad"}.get(rule.outcome, "unsure")
    confidence = f"{100 * rule.interval.confidence:.3g} % interval"
    bar = difference_bar("Difference", confidence, rule.figure, rule.interval, scale, tone)
    bound = scale.position(rule.bound) if rule.bound else None
    return Figure((bar,), _point_ticks(scale), scale.position(0.0), bound)


def score_figure(scores: Mapping[str, ModelScores], metric: Metric) -> Figure | None:
    """One metric of all models on one scale from zero; None where nothing could be measured."""
    known = {role: one.scores[metric] for role, one in scores.items()}
    figures = {role: one.figure for role, one in known.items() if one.figure is not None}
    if not figures:
        return None
    highs = [one.interval.high for one in known.values() if one.interval]
    scale = scale_over([*figures.values(), *highs])
    bars = tuple(
        Bar(
            name=ROLE_NAMES[role],
            note="",
            text=percent_text(figure),
            interval=interval_text(known[role].interval),
            track=track(scale, figure, known[role].interval),
            tone="main" if role == "challenger" else "other",
        )
        for role, figure in figures.items()
    )
    return Figure(bars, tuple((scale.position(t), f"{100 * t:g}") for t in scale.ticks))


def with_the_whole(evidence: Evidence, slices: Sequence[SliceComparison]) -> list[SliceComparison]:
    """The gate's slices, after the whole test set as its improvement rule measured it.

    Without the whole where that rule measured nothing: the test set was used up.
    """
    rules = [rule for rule in evidence.decision.rules if rule.rule == "improvement"]
    champion, challenger = (evidence.scores_of(role) for role in (evidence.against, "challenger"))
    whole = [
        SliceComparison(
            name="all",
            value="Whole test set",
            utterances=evidence.challenger.utterances,
            words=evidence.challenger.words.reference_length,
            champion=champion.scores["words"].figure or 0.0,
            challenger=challenger.scores["words"].figure or 0.0,
            difference=rule.figure,
            interval=rule.interval,
            harm=1.0,
            significant=rule.interval.low > 0,
        )
        for rule in rules
        if rule.interval is not None and rule.figure is not None
    ]
    return [*whole, *slices]


def slice_confidence(slices: Sequence[SliceComparison]) -> str:
    """The confidence of the slices' intervals: "90 %"; nothing without slices."""
    return f"{100 * slices[0].interval.confidence:.3g} %" if slices else ""


def slice_figures(slices: Sequence[SliceComparison]) -> dict[str, Figure]:
    """Kind of slice -> forest plot; all share one scale, so that they can be compared."""
    if not slices:
        return {}
    scale = _forest_scale(slices)
    kinds: dict[str, list[Bar]] = {}
    for one in slices:
        tone = "good" if one.interval.high < 0 else "bad" if one.significant else "unsure"
        change = f"{glued(percent_text(one.champion))} → {glued(percent_text(one.challenger))}"
        note = f"n = {one.utterances}, {change}"
        bar = difference_bar(one.value, note, one.difference, one.interval, scale, tone)
        kinds.setdefault(one.name.capitalize(), []).append(bar)
    return {
        kind: Figure(
            bars=tuple(bars[:MAX_SLICES]),
            ticks=_point_ticks(scale),
            zero=scale.position(0.0),
            left_out=max(len(bars) - MAX_SLICES, 0),
        )
        for kind, bars in kinds.items()
    }


def _forest_scale(slices: Sequence[SliceComparison]) -> Scale:
    """Wide enough for the first interval and every estimate; wider intervals are cut."""
    whole = slices[0].interval
    reach = max(abs(whole.low), abs(whole.high), LEAST_REACH)
    furthest = max(abs(one.difference) for one in slices)
    limit = max(REACH_OF_INTERVAL * reach, REACH_OF_ESTIMATES * furthest)
    ends = [end for one in slices for end in (one.interval.low, one.interval.high)]
    return scale_over(min(max(end, -limit), limit) for end in ends)


def glued(text: str) -> str:
    """A figure that never parts from its unit at the end of a line."""
    return text.replace(" ", "\u00a0")


def difference_bar(
    name: str, note: str, figure: float, interval: Interval, scale: Scale, tone: str
) -> Bar:
    """A bar whose text is in percentage points."""
    low, high = points_text(interval.low), points_text(interval.high)
    between = f"{low.removesuffix(' points')} to {high.removesuffix(' points')}"
    return Bar(name, note, points_text(figure), between, track(scale, figure, interval), tone)


def _point_ticks(scale: Scale) -> tuple[tuple[float, str], ...]:
    texts = (f"{100 * tick:+g}".replace("-", "−") for tick in scale.ticks)
    return tuple(
        (scale.position(tick), "0" if tick == 0 else text)
        for tick, text in zip(scale.ticks, texts, strict=True)
    )

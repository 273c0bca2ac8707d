"""Figures without a plotting library: intervals as positions on a track, curves as small SVG.

Tracks are percentages for CSS, so that a figure is as wide as the page and its text never shrinks.
Only geometry is here; the shapes are in the templates.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_retrain.records import Interval, Promotion
from whisper_retrain.templating import render

TEMPLATES = Path(__file__).parent / "templates"
Point = tuple[float, float]
ROOM_SHARE, ROOM_ABOVE = 0.06, 0.1
"""Beyond the values: at either end of a track, above bars; of their range."""
LEAST_ROOM = 0.01
"""Where all values are one."""


@dataclass(frozen=True)
class Scale:
    """A range of values; `position` is in percent of its width, clipped to it."""

    low: float
    """Left end."""
    high: float
    """Right end."""

    def position(self, value: float) -> float:
        """0 at `low`, 100 at `high`."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    @property
    def ticks(self) -> list[float]:
        """Three to six round values inside the range."""
        rough = (self.high - self.low) / 5
        magnitude: float = 10.0 ** math.floor(math.log10(rough))
        step = magnitude * next(m for m in (1, 2, 5, 10) if m * magnitude >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]


@dataclass(frozen=True)
class Track:
    """One interval drawn: percent from the left, and whether it leaves the scale."""

    start: float
    """Percent from the left."""
    width: float
    """Percent."""
    dot: float
    """Of the estimate, percent from the left."""
    cut_left: bool
    """Whether it goes on beyond the left end."""
    cut_right: bool
    """Whether it goes on beyond the right end."""


def scale_over(values: Iterable[float], *, include: float = 0.0) -> Scale:
    """A scale over all finite values and `include`, with some room beyond the values."""
    finite = [value for value in values if math.isfinite(value)] + [include]
    low, high = min(finite), max(finite)
    room = ROOM_SHARE * (high - low) or LEAST_ROOM
    return Scale(
        low - room if low < include else low,
        high + room if high > include or low == high else high,
    )


def track(scale: Scale, figure: float, interval: Interval | None) -> Track:
    """Where dot and whiskers of a figure lie."""
    low, high = (interval.low, interval.high) if interval else (figure, figure)
    start, end = scale.position(low), scale.position(high)
    return Track(
        start, round(end - start, 2), scale.position(figure), low < scale.low, high > scale.high
    )


def line_chart(
    points: Sequence[Point], *, label: str, unit: str = "", marks: Sequence[float] = ()
) -> str:
    """One curve over optimizer steps as inline SVG that takes its colours from the page.

    `marks` are steps drawn as vertical lines. Returns "" for fewer than two points.
    """
    if len(points) < 2:
        return ""
    x_scale = Scale(min(x for x, _ in points), max(x for x, _ in points))
    y_scale = scale_over(y for _, y in points)
    return render(
        TEMPLATES,
        "line_chart.svg.jinja",
        label=label,
        unit=unit,
        points=[(x_scale.position(x), y_scale.position(y)) for x, y in points],
        x_ticks=[(x_scale.position(tick), f"{tick:g}") for tick in x_scale.ticks],
        y_ticks=[(y_scale.position(tick), f"{tick:g}") for tick in y_scale.ticks],
        marks=[x_scale.position(mark) for mark in marks],
    )


def wer_history_svg(champions: Sequence[Promotion]) -> str:
    """Normalised WER of every champion in turn, with intervals, as a data URI (an SVG image)."""
    known = [one for one in champions if one.wer is not None]
    highs = [one.wer_interval.high if one.wer_interval else one.wer for one in known]
    scale = Scale(
        0.0, (1 + ROOM_ABOVE) * max([LEAST_ROOM, *(high for high in highs if high is not None)])
    )
    bars = [
        {
            "promotion": one,
            "x": round(100 * (index + 0.5) / len(known), 2),
            "track": track(scale, one.wer, one.wer_interval),
        }
        for index, one in enumerate(known)
        if one.wer is not None
    ]
    ticks = [(scale.position(tick), f"{100 * tick:g} %") for tick in scale.ticks]
    svg = render(TEMPLATES, "wer_history.svg.jinja", bars=bars, ticks=ticks)
    return svg_data_uri(svg.encode())


def svg_data_uri(svg: bytes) -> str:
    """An SVG image as the URL of itself, for pages that can't reach S3."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"

"""The picture of benchmarks/year.py: WER by month, a line a policy, promotions marked; an SVG."""

from __future__ import annotations

from pathlib import Path

from benchmarks.year_life import Year
from benchmarks.year_policies import BASE
from benchmarks.year_verdict import Lines
from whisper_retrain.report.figures import Scale
from whisper_retrain.templating import render

TEMPLATES = Path(__file__).parent / "templates"
COLOURS = {
    "default": "#0f6cbd",
    "cold_fixed": "#b45309",
    "always_newest": "#7c3aed",
    "lower_wer": "#0f766e",
    "first": "#6b7280",
    "oracle": "#111827",
}
ROOM = 1.08
"""Above the highest point."""


def draw(year: Year, lines: Lines) -> str:
    """The SVG; the default is drawn last, over the others."""
    scale = Scale(0.0, ROOM * max(wer for line in lines.values() for wer in line))
    months = [end.month[:3] for end in year.ends]
    places = [round(100 * (number + 0.5) / len(months), 2) for number in range(len(months))]
    drawn = [
        {
            "policy": policy,
            "colour": COLOURS[policy],
            "points": list(zip(places, map(scale.position, lines[policy]), strict=True)),
            "promoted": [
                (places[number], scale.position(lines[policy][number]))
                for number, end in enumerate(year.ends)
                if end.champions[policy]
                != (year.ends[number - 1].champions[policy] if number else BASE)
            ],
        }
        for policy in sorted(lines, key=lambda name: name == "default")
    ]
    return render(
        TEMPLATES,
        "year.svg.jinja",
        lines=drawn,
        months=list(zip(places, months, strict=True)),
        ticks=[(scale.position(tick), f"{100 * tick:g} %") for tick in scale.ticks],
    )

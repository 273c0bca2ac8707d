"""The figures that a person looks at after a training: how it learnt, and what it used.

Knows nothing of the training but its curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whisper_retrain.records import CurvePoint


def draw_figures(
    points: Sequence[CurvePoint], best_step: int | None, directory: Path
) -> dict[str, Path]:
    """SVG files by name: `learning` (loss and WER over steps) and `resources` (over time)."""
    import matplotlib as mpl

    mpl.use("Agg")
    directory.mkdir(parents=True, exist_ok=True)
    figures = {"learning": _learning(points, best_step), "resources": _resources(points)}
    paths = {}
    for name, figure in figures.items():
        paths[name] = directory / f"{name}.svg"
        figure.savefig(paths[name])
    return paths


def _new_figure(rows: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.2 * rows + 0.8), layout="constrained")
    return figure, figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]


def _series(points: Sequence[CurvePoint], x: str, y: str) -> tuple[list[float], list[float]]:
    pairs = [(getattr(p, x), getattr(p, y)) for p in points]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return [a for a, _ in known], [b for _, b in known]


def _learning(points: Sequence[CurvePoint], best_step: int | None) -> Any:
    """The article's figure: losses and WER over steps, the chosen checkpoint marked."""
    figure, (top, bottom) = _new_figure(2)
    top.plot(*_series(points, "step", "loss"), label="training loss", linewidth=1)
    top.plot(*_series(points, "step", "validation_loss"), "o-", label="validation loss")
    top.set_ylabel("cross-entropy\nper label id")
    top.legend()
    steps, wers = _series(points, "step", "validation_wer")
    percents = [100 * wer for wer in wers]
    bottom.plot(steps, percents, "o-", color="tab:green", label="validation WER")
    for axis in (top, bottom):
        if best_step is not None:
            axis.axvline(best_step, color="grey", linestyle=":", linewidth=1)
    if best_step in steps:
        bottom.plot(
            [best_step], [percents[steps.index(best_step)]], "*", markersize=14, label="kept"
        )
    bottom.set_ylabel("WER, %")
    bottom.set_ylim(bottom=0)
    bottom.set_xlabel("step")
    bottom.legend()
    return figure


def _resources(points: Sequence[CurvePoint]) -> Any:
    figure, (speed, share, memory) = _new_figure(3)
    speed.plot(*_series(points, "elapsed_s", "audio_s_per_s"), linewidth=1)
    speed.set_ylabel("audio seconds\nper second")
    times, shares = _series(points, "elapsed_s", "compute_share")
    share.plot(times, [100 * value for value in shares], linewidth=1)
    share.set_ylabel("% of the peak of\nmatrix products")
    times, sizes = _series(points, "elapsed_s", "memory_bytes")
    memory.plot(times, [size / 2**30 for size in sizes])
    memory.set_ylabel("peak memory,\nGiB")
    for axis in (speed, share, memory):
        axis.set_ylim(bottom=0)
    memory.set_xlabel("time, s")
    return figure

"""The picture of a tuning: learning rate against WER, the rungs, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from whisper_retrain.tuning.proposal import Proposal, Tried


def tuning_svg(proposal: Proposal) -> bytes:
    """Left each trial's WER over its rate, rung by rung; right the last one over its cost."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for tried in (one for one in proposal.tried if one.wers):
        _draw(left, right, tried, tried.number == proposal.winner)
    for rung, epochs in enumerate(proposal.epochs):
        left.plot([], [], "o", color="grey", markersize=_size(rung), label=f"{epochs:g} epochs")
    if proposal.confirmation and proposal.winner is not None:
        rate = next(t.learning_rate for t in proposal.tried if t.number == proposal.winner)
        wer = 100 * proposal.confirmation.wer
        left.plot([rate], [wer], "x", color="black", label="the winner, another seed")
    left.set_xscale("log")
    _mark_rates(left, [tried.learning_rate for tried in proposal.tried if tried.wers])
    left.set_xlabel("peak learning rate")
    left.set_ylabel("WER on the validation split, %")
    left.legend(fontsize="small")
    right.set_xlabel("compute-seconds of the trial, all its rungs")
    right.margins(x=0.15)  # for the names beside the points
    file = BytesIO()
    figure.savefig(file, format="svg")
    return file.getvalue()


def _mark_rates(axes: Any, rates: Sequence[float]) -> None:
    """A few ticks from the lowest rate to the highest: a scale's own run into one another."""
    if rates:
        marks = np.geomspace(min(rates), max(rates), 4 if min(rates) < max(rates) else 1)
        axes.set_xticks(marks, [f"{mark:.2g}" for mark in marks])
    axes.minorticks_off()


def _size(rung: int) -> float:
    return 4.0 + 3.0 * rung


def _draw(left: Any, right: Any, tried: Tried, is_winner: bool) -> None:
    """One trial: a point for each rung, thick where it won."""
    width = 2.0 if is_winner else 0.7
    wers = [100 * wer for wer in tried.wers]
    (line,) = left.plot([tried.learning_rate] * len(wers), wers, linewidth=width)
    for rung, wer in enumerate(wers):
        left.plot([tried.learning_rate], [wer], "o", color=line.get_color(), markersize=_size(rung))
    right.plot(
        [tried.cost_s], wers[-1:], "o", color=line.get_color(), markersize=_size(len(wers) - 1)
    )
    name = "as now" if tried.number == 0 else f"{tried.number}"
    right.annotate(
        f"{name} *" if is_winner else name,
        (tried.cost_s, wers[-1]),
        textcoords="offset points",
        xytext=(6, 4),
        fontsize="small",
    )

"""What people see of a tuning in the UI: the table, the picture, and the cost so far."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from prefect import task
from prefect.artifacts import (
    create_image_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from tasks.tuning import TuningOrder
from whisper_retrain.release.scores import percent_text
from whisper_retrain.report.figures import svg_data_uri
from whisper_retrain.tuning.picture import tuning_svg
from whisper_retrain.tuning.proposal import Proposal
from whisper_retrain.tuning.trials import spent_s


class TuningCostNote:
    """The progress artifact that says what a tuning has cost so far."""

    def __init__(self, order: TuningOrder) -> None:
        self._order = order
        created = create_progress_artifact(0.0, "tuning-cost", description="Cost of the tuning")
        self._artifact = cast(UUID, created)  # typed for async callers too

    def update(self) -> None:
        """Count anew."""
        outcomes, budget_s = self._order.trials.outcomes(), self._order.budget.seconds
        cost_s = spent_s(outcomes)
        text = f"{cost_s:.0f} of {budget_s:.0f} compute-seconds, {len(outcomes)} trainings"
        percent = min(100.0, 100 * cost_s / budget_s)
        update_progress_artifact(self._artifact, percent, description=text)


@task(task_run_name="tuning-table", cache_policy=NO_CACHE)
def publish_tuning_note(proposal: Proposal) -> None:
    """All trials as a table, and the picture."""
    said = "; ".join(proposal.sentences)
    changes = ", ".join(f"{name}: {value}" for name, value in proposal.settings.items())
    text = f"{said}. Proposed: {changes or 'no change'}. Digest `{proposal.digest[:12]}`."
    create_table_artifact(tuning_table(proposal), key="tuning", description=text)
    svg = svg_data_uri(tuning_svg(proposal))
    create_image_artifact(svg, key="tuning-picture", description="Rate, rungs and cost")


def tuning_table(proposal: Proposal) -> list[dict[str, str]]:
    """A row a trial, the winner first, then those that came furthest with the lowest WER."""
    order = sorted(
        proposal.tried,
        key=lambda t: (t.number != proposal.winner, -len(t.wers), t.wers[-1:] or (float("inf"),)),
    )
    rows = []
    for one in order:
        named = "winner" if one.number == proposal.winner else one.origin
        settings_text = {n: f"{v}" for n, v in one.point.items() if n != "rate"}
        wers = {
            f"WER at {epochs:g} epochs": percent_text(one.wers[rung])
            if rung < len(one.wers)
            else ("diverged" if one.diverged and rung == len(one.wers) else "")
            for rung, epochs in enumerate(proposal.epochs)
        }
        rows.append(
            {"trial": f"{one.number} ({named})"}
            | {"learning rate": f"{one.learning_rate:.3g}"}
            | settings_text
            | wers
            | {"medical WER": percent_text(one.medical_wer) if one.medical_wer is not None else ""}
            | {"compute-seconds": f"{one.cost_s:.0f}"}
        )
    return rows

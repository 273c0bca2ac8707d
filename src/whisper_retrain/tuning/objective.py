"""Which of several trials is the best, by what they make of the validation split; pure.

Never the test set: it would be tuned to, and its promise to the gate broken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.training.candidates import tied


@dataclass(frozen=True)
class Scored:
    """A trial on a rung."""

    number: int
    """Of the trial."""
    validation: Evaluation
    """What it makes of the validation split."""
    cost_s: float
    """Seconds that a training like it takes, from the beginning."""

    @property
    def wer(self) -> float:
        """Normalised, a fraction."""
        return self.validation.report.words.error_rate

    @property
    def medical_wer(self) -> float:
        """Of medical terms, a fraction."""
        return self.validation.report.medical.error_rate


def best_of(scored: Sequence[Scored], policy: GatePolicy) -> Scored:
    """The lowest WER; of those not told apart from it the lowest medical WER, then the cheapest."""
    lowest = min(scored, key=lambda one: (one.wer, one.medical_wer, one.cost_s, one.number))
    equal = [
        one for one in scored if one is lowest or tied(lowest.validation, one.validation, policy)
    ]
    return min(equal, key=lambda one: (one.medical_wer, one.cost_s, one.wer, one.number))


def ranked(scored: Sequence[Scored], policy: GatePolicy) -> list[Scored]:
    """All, the best first: each is the best of those that are left."""
    left, order = list(scored), list[Scored]()
    while left:
        order.append(best_of(left, policy))
        left.remove(order[-1])
    return order

"""The benchmarks' short cut past the bootstrap never says no where the gate would say better."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import gate_calibration
from benchmarks.gate_better import is_far_from_better
from benchmarks.gate_calibration import SHAPES, Shape, called_better
from whisper_retrain.gate.statistics import compare

RUNS = 12


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_what_is_far_from_better_is_not_better(
    shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where few or unequal speakers make the intervals what they are."""
    far = []

    def judged(pairs, views, *, alpha, replicates):
        found = compare(pairs, views, alpha=alpha, replicates=replicates).interval.high < 0
        far.append(is_far_from_better(pairs, views, alpha))
        assert not (found and far[-1])
        return found

    monkeypatch.setattr(gate_calibration, "finds_better", judged)
    rng = np.random.default_rng(3)
    for _ in range(RUNS):
        called_better(shape, rng)
    assert any(far)

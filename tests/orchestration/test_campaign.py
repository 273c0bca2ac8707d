"""The short form of `benchmarks/scale.py`: stages on two pools, with a real server and workers."""

from __future__ import annotations

import pytest

from benchmarks import scale

SHORT = ["child killed"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_becomes_of_a_retraining_on_two_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "STEPS", 15)
    found = scale.measure(SHORT, print)
    assert found["as_expected"] == found["cases"] == len(SHORT), found["results"]
    assert found["trained_twice"] == 0
    assert 0 < found["gpu_free_s"] <= 60
    assert 0 < found["parent_rss_mib"] <= 200
    assert not found["parent_imports_torch"]

"""Every benchmark starts by both names, from the root of the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if "argparse" in path.read_text()
)


def test_there_are_benchmarks() -> None:
    assert {"gate", "refresh", "training"} <= set(BENCHMARKS)


@pytest.mark.parametrize("by", ["path", "module"])
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_starts_by_path_and_as_a_module(name: str, by: str) -> None:
    how = {"path": [f"benchmarks/{name}.py"], "module": ["-m", f"benchmarks.{name}"]}[by]
    done = subprocess.run(
        [sys.executable, *how, "--help"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout

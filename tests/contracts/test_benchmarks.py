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


AS_MODULES = """
import runpy, sys
for name in sys.argv.pop().split():
    sys.argv[1:] = ["--help"]
    try:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        print(name, "ended with", ended.code)
"""
"""All of them in one process, which imports torch once."""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_starts_by_path(name: str) -> None:
    done = python(f"benchmarks/{name}.py", "--help")
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout


def test_every_benchmark_starts_as_a_module() -> None:
    done = python("-c", AS_MODULES, " ".join(BENCHMARKS))
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if " ended with " in line] == [
        f"{name} ended with 0" for name in BENCHMARKS
    ]

"""One measurement of benchmarks/training.py: made in a process of its own, kept, and printed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.training_recipes import Order
from whisper_retrain.whole import write_whole

ROOT = Path(__file__).resolve().parent.parent
CELLS_VERSION = "1"

Result = dict[str, Any]


def measured(order: Order, environment: dict[str, str] | None = None) -> Result:
    """One training in a process of its own; from the cache, if it was made before."""
    kept = _cell(order)
    if kept and kept.exists():
        found: Result = json.loads(kept.read_text())
        return found
    result = _measured(order, environment)
    if kept and "error" not in result:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, json.dumps(result))
    return result


def _cell(order: Order) -> Path | None:
    """Where the result of an order is kept; random weights are measured anew each time."""
    if not order.cache:
        return None
    sources = [*(ROOT / "src/whisper_retrain").glob("training/*.py")]
    sources += [*(ROOT / "src/whisper_retrain").glob("evaluation/*.py")]
    sources += [*(ROOT / "benchmarks").glob("training_*.py")]
    told = {**asdict(order), "corpus": Path(order.corpus).name, "base": "", "cache": ""}
    code = [path.read_text() for path in sorted(sources)]
    digest = hashlib.sha256(json.dumps([CELLS_VERSION, told, code]).encode()).hexdigest()
    return Path(order.cache) / "training-cells" / f"{digest[:24]}.json"


def _measured(order: Order, environment: dict[str, str] | None) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        ask, answer = Path(folder) / "order.json", Path(folder) / "result.json"
        ask.write_text(json.dumps(asdict(order)))
        path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, str(ROOT / "benchmarks" / "training_recipes.py"), ask, answer]
        done = subprocess.run(
            [str(part) for part in command],
            env={
                **os.environ,
                "PYTHONPATH": path,
                "TOKENIZERS_PARALLELISM": "false",
                **(environment or {}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            tail = "\n".join(done.stderr.splitlines()[-15:])
            return {**asdict(order), "error": f"exit code {done.returncode}:\n{tail}"}
        result: Result = json.loads(answer.read_text())
        return result


def gib(result: Result) -> float:
    """Peak memory in GiB."""
    return float(result["peak_memory_bytes"]) / 2**30


def check(result: Result) -> None:
    """Stop where a recipe failed."""
    if "error" in result:
        sys.exit(f"{result['recipe']} failed: {result['error']}")


def say(*cells: object) -> None:
    """One row of a table."""
    print(" ".join(_cells(cells)), flush=True)


def _cells(cells: Iterable[object]) -> Iterable[str]:
    for number, cell in enumerate(cells):
        text = f"{cell:.2f}" if isinstance(cell, float) else str(cell)
        yield text.ljust(50) if number == 0 else text.rjust(10)

"""The refresh of very many utterances, without their audio: processor time and memory of its steps.

    python benchmarks/scale_metadata.py [--utterances 100000 300000 1000000] [--json FILE]

Rows are invented as a refresh of so many recordings would have measured them. Each count is done in
a process of its own; the steps are the real ones: read the index of the revision before (plan),
curate (checks, duplicates, splits), and the tables and digests of the new revision (manifest).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
SHARD_ROWS, UTTERANCES_A_SPEAKER, UTTERANCES_A_PHRASE = 300, 100, 3
WORDS = ["pain", "cough", "fever", "rash", "knee", "chest", "left", "mild", "sharp", "night"]
SOURCE_ROWS = 100_000  # rows invented at a time


def invent(path: Path, count: int) -> None:
    """The index of a revision, as a parquet file of `Recording`."""
    from whisper_retrain.data.recordings import Recording
    from whisper_retrain.data.rows import schema_of

    schema = schema_of(Recording)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for first in range(0, count, SOURCE_ROWS):
            rows = range(first, min(first + SOURCE_ROWS, count))
            writer.write_table(pa.table(_columns(rows, count), schema=schema))


def _columns(rows: range, count: int) -> dict[str, Any]:
    rng = np.random.default_rng(rows.start)
    size = len(rows)
    phrases = rng.integers(0, count // UTTERANCES_A_PHRASE + 1, size)
    duration_s = rng.uniform(2.0, 6.0, size).round(3)
    return {
        "source": ["main"] * size,
        "id": [f"u{row:09d}" for row in rows],
        "origin": [f"data/{row:09d}.wav|1700000000-{row % 997}" for row in rows],
        "reference": [_sentence(int(phrase)) for phrase in phrases],
        "speaker": [str(row) for row in rng.integers(0, count // UTTERANCES_A_SPEAKER + 1, size)],
        "prompt": [f"prompt {row % 25}" for row in rows],
        "encoded_sha256": [f"{row:064x}" for row in rows],
        "audio_sha256": [f"{row + 1:064x}" for row in rows],
        "failure": [None] * size,
        "sampling_rate_hz": [44_100] * size,
        "num_samples": (duration_s * 16_000).astype(np.int64),
        "duration_s": duration_s,
        "level_dbfs": rng.uniform(-40, -10, size).round(2),
        "clipped_share": [0.0] * size,
        "shard": [f"{row // SHARD_ROWS:064x}" for row in rows],
        "row": [row % SHARD_ROWS for row in rows],
    }


def _sentence(number: int) -> str:
    """Another one for each number."""
    words = []
    while number or not words:
        number, digit = divmod(number, len(WORDS))
        words.append(WORDS[digit])
    return f"I have {' '.join(words)} since some days."


def measure(index: Path) -> list[dict[str, Any]]:
    """Each step in turn, in this process: its processor seconds, and the highest memory so far."""
    from whisper_retrain.config import DatasetConfig, DatasetSource
    from whisper_retrain.data.curate import Before, curate
    from whisper_retrain.data.manifest import (
        Utterance,
        digest_of_test_columns,
        digest_of_test_set,
        manifest_digest,
        summarize,
    )
    from whisper_retrain.data.recordings import Recording, in_order
    from whisper_retrain.data.rows import from_parquet, to_parquet
    from whisper_retrain.data.validation import label_id_counter

    config = DatasetConfig(sources=(DatasetSource(location="demo/invented"),))
    found: list[dict[str, Any]] = []

    def step(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        seconds = time.process_time() - began
        found.append({"step": name, "seconds": seconds, "peak_mib": peak_rss_mib()})
        return result

    rows = step("plan: read the index", lambda: from_parquet(index, Recording))
    step("plan: is anything else in it", lambda: in_order(rows) == rows)
    curated = step(
        "splits: check, curate, split",
        lambda: curate(rows, config, Before(), label_id_counter(None)),
    )
    taken = curated.utterances

    def manifest() -> None:
        to_parquet(taken, Utterance)
        manifest_digest(taken)
        digest_of_test_set(taken)
        digest_of_test_columns(taken)
        summarize(taken)

    step("manifest: table, digests, counts", manifest)
    step("manifest: the next index", lambda: to_parquet(in_order(rows), Recording))
    return found


def peak_rss_mib() -> float:
    """Highest resident memory of this process so far, as the kernel counts it."""
    status = Path("/proc/self/status").read_text()
    return next(int(li.split()[1]) for li in status.splitlines() if li.startswith("VmHWM")) / 1024


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Seconds and memory of each step, by count."""
    counts = list(found)
    lines = [
        f"| step | {' | '.join(f'{int(n):,}' for n in counts)} |",
        "|---|" + "---:|" * len(counts),
    ]
    for row, first in enumerate(found[counts[0]]):
        cells = [
            f"{found[n][row]['seconds']:.1f} s, {found[n][row]['peak_mib']:.0f} MiB" for n in counts
        ]
        lines.append(f"| {first['step']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--utterances", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(Path(options.child))))
        return
    import tempfile

    found = {}
    with tempfile.TemporaryDirectory(prefix="scale-metadata-") as folder:
        for count in options.utterances:
            index = Path(folder) / f"{count}.parquet"
            invent(index, count)
            command = [sys.executable, __file__, "--child", str(index)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
            found[str(count)] = json.loads(done.stdout)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

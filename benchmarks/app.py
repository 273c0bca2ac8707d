"""The running stack's web application while many speak to it at once: waits and memory.

    eval "$(whisper-retrain stack env)"; python benchmarks/app.py [--people 20] [--json FILE]

Each sends a recording in a voice of the demo corpus at the same moment; told are the seconds until
all models have heard it, as a multiple of what one person alone waits, and the memory of the
service: before the first recording, and the most that it took. Needs `make demo` before.
"""

from __future__ import annotations

import argparse
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import numpy as np
import psutil
import soundfile

from deployments.terminal.watch import PeakMemory
from tests.fixtures.app import Visitor
from whisper_retrain.errors import InputError
from whisper_retrain.local.demo.recording import record
from whisper_retrain.local.demo.speakers import TRAIN_SPEAKERS
from whisper_retrain.local.stack.processes import find
from whisper_retrain.settings import load_settings

SENTENCES = ("He was given amoxicillin for the left ear.", "I have felt dizzy since this morning.")


def main() -> None:
    """Print what one and what many wait."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.people)
    for name, value in found.items():
        print(f"{name:<24} {value:.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


def measure(people: int) -> dict[str, float]:
    """Seconds, multiples and MiB by name."""
    process, recordings = service(), [wav(flac) for flac in record(TRAIN_SPEAKERS[0], SENTENCES)]
    resting_bytes = process.memory_info().rss
    with PeakMemory(lambda: process.memory_info().rss) as memory:
        first_s = wait_s(recordings[0])
        alone_s = min(wait_s(recordings[0]) for _ in range(3))
        with ThreadPoolExecutor(people) as pool:
            jobs = [pool.submit(wait_s, recordings[n % len(recordings)]) for n in range(people)]
            waits_s = [job.result() for job in jobs]
    p50_s, p95_s = np.percentile(waits_s, [50, 95])
    return {
        "first_s": first_s,
        "alone_s": alone_s,
        "people": people,
        "p50_s": float(p50_s),
        "p95_s": float(p95_s),
        "p95_times_alone": float(p95_s / alone_s),
        "resting_mib": resting_bytes / 2**20,
        "peak_mib": memory.bytes / 2**20,
    }


def service() -> psutil.Process:
    """The process of the stack's web application."""
    stack = str(load_settings().local_dir.absolute())
    for found in find(stack):
        if found.service == "app" and "-m" in found.command:
            return found.process
    raise InputError("the web application does not run", where=stack, remedy="`make demo` first")


def wait_s(recording: bytes) -> float:
    """Seconds from choosing the file to the last transcript; raises when it is refused."""
    start_s = monotonic()
    token, said = Visitor(str(load_settings().app_url)).transcribe(recording)
    if not token:
        raise RuntimeError(said or "nothing was said")
    return monotonic() - start_s


def wav(flac: bytes) -> bytes:
    """The same recording as a WAV file."""
    samples, rate_hz = soundfile.read(io.BytesIO(flac), dtype="int16")
    sink = io.BytesIO()
    soundfile.write(sink, samples, rate_hz, format="WAV")
    return sink.getvalue()


if __name__ == "__main__":
    main()

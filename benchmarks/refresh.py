"""Refresh against the usual recipe, on the same recordings: time, disk, memory, and what is new.

    python benchmarks/refresh.py [--utterances 1000] [--large 4000] [--json FILE]

The usual recipe is `datasets.load_dataset` + `cast_column(Audio(16000))` + `map` with Whisper's
feature extractor and tokenizer, `num_proc=2` (soundfile and soxr decode, since `datasets` needs
torchcodec to do it). Both read one dataset repo from a loopback Hub, each in a process of its
own; imports are not timed. Speech: eSpeak NG, with speed, level and noise of each utterance's own.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPO = "demo/refresh-benchmark"
PEER_PROCESSES = 2
SPEAKERS, SENTENCES, RATE_HZ, FILE_ROWS = 40, 200, 44_100, 500


def make_parquet(target: Path, first: int, count: int) -> None:
    """Recordings number `first` to `first + count` in the columns of the PaulMooney dataset."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import soundfile

    from whisper_retrain.local.demo.engines import Espeak
    from whisper_retrain.local.demo.plan import sentences

    texts = [s.text for s in sentences("train")][:SENTENCES]
    voice = Espeak("en-us", 150, 50)
    speech = [np.asarray(voice.read(text), dtype=np.float64) for text in texts]
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([(n, pa.string()) for n in ("id", "sentence", "prompt", "speaker_id")])
    schema = schema.append(pa.field("path", audio))
    with pq.ParquetWriter(target, schema) as writer:
        rows: list[dict[str, Any]] = []
        for number in range(first, first + count):
            rng = np.random.default_rng(number)
            which = (number * 7 + number // SPEAKERS) % len(texts)
            plain = speech[which]
            length = int(len(plain) * rng.uniform(0.9, 1.1) * RATE_HZ / voice.rate_hz)
            wave = np.interp(np.linspace(0, len(plain) - 1, length), np.arange(len(plain)), plain)
            wave = wave * rng.uniform(0.3, 0.9) + rng.standard_normal(length) * 10 ** (-55 / 20)
            sink = io.BytesIO()
            soundfile.write(sink, np.clip(wave, -1, 1), RATE_HZ, format="WAV", subtype="PCM_16")
            row = {
                "id": f"u{number}",
                "sentence": texts[which],
                "prompt": f"prompt {which % 25}",
                "speaker_id": f"{number % SPEAKERS}",
                "path": {"bytes": sink.getvalue(), "path": f"u{number}.wav"},
            }
            rows.append(row)
            if len(rows) == 100 or number == first + count - 1:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows = []


def run_peer(processor: str, cache: str) -> dict[str, Any]:
    """The usual recipe, from the repo to a dataset that can be trained on."""
    import datasets
    import soundfile
    import soxr
    from transformers import WhisperFeatureExtractor, WhisperTokenizerFast

    extractor = WhisperFeatureExtractor.from_pretrained(processor)
    tokenizer = WhisperTokenizerFast.from_pretrained(processor)

    def prepare(row: dict[str, Any]) -> dict[str, Any]:
        samples, rate = soundfile.read(io.BytesIO(row["path"]["bytes"]), dtype="float32")
        samples = soxr.resample(samples, rate, 16_000)
        features = extractor(samples, sampling_rate=16_000).input_features[0]
        return {"input_features": features, "labels": tokenizer(row["sentence"]).input_ids}

    started, cpu = time.perf_counter(), cpu_s()
    raw = datasets.load_dataset(REPO, split="train", cache_dir=cache)
    raw = raw.cast_column("path", datasets.Audio(decode=False))
    ready = raw.map(prepare, remove_columns=raw.column_names, num_proc=PEER_PROCESSES)
    seconds = time.perf_counter() - started
    files = [Path(cache, "..", f["filename"]).resolve() for f in ready.cache_files]
    return {
        "seconds": seconds,
        "cpu_s": cpu_s() - cpu,
        "utterances": len(ready),
        "features_bytes": sum(file.stat().st_size for file in files),
        "disk_bytes": sum(p.stat().st_size for p in Path(cache).rglob("*") if p.is_file()),
    }


def run_refresh(store: str) -> dict[str, Any]:
    """Our refresh, from the repo to a dataset revision in S3."""
    # pandas: pyarrow imports it by itself; hf_api: huggingface_hub imports it at its first use.
    libraries = (
        "pandas",
        "boto3",
        "huggingface_hub.hf_api",
        "pyarrow.parquet",
        "soundfile",
        "soxr",
    )
    for name in libraries:
        importlib.import_module(name)
    from whisper_retrain.config import DatasetConfig, DatasetSource, SplitPolicy
    from whisper_retrain.data import build
    from whisper_retrain.data.refresh import refresh_dataset
    from whisper_retrain.edges.store import S3Store

    decoded: list[int] = []
    decode = build.decode
    build.decode = lambda data: decoded.append(len(data)) or decode(data)
    source = DatasetSource(location=REPO, preset="paulmooney")
    config = DatasetConfig(sources=(source,), splits=SplitPolicy(disjoint="phrase"))
    place = S3Store(store)
    started, cpu = time.perf_counter(), cpu_s()
    revision = refresh_dataset(config, place)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_s": cpu_s() - cpu,
        "utterances": revision.seen,
        "taken": revision.taken,
        "decoded": len(decoded),
        "peak_rss_mib": peak_rss_mib(),
    }


def cpu_s() -> float:
    """Processor seconds of this process and of its finished children; other load counts less."""
    of = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in of)


def peak_rss_mib() -> float:
    """Highest resident memory of this process so far, as the kernel counts it."""
    status = Path("/proc/self/status").read_text()
    return next(int(li.split()[1]) for li in status.splitlines() if li.startswith("VmHWM")) / 1024


CHILDREN = {"make": make_parquet, "peer": run_peer, "refresh": run_refresh}


class Bench:
    """The servers, the repo, and the child processes that are measured."""

    def __init__(self, folder: Path, s3: Any, hub: Any) -> None:
        self.folder, self.s3, self.hub = folder, s3, hub
        self.rows = 0
        hub.api().create_repo(REPO, repo_type="dataset")

    def child(self, name: str, *args: Any) -> Any:
        """Run one of CHILDREN in a fresh process and return what it measured."""
        result = self.folder / "result.json"
        order = json.dumps(
            [name, [str(a) if isinstance(a, Path) else a for a in args], str(result)]
        )
        environment = {
            **os.environ,
            **self.s3.environment(),
            **self.hub.environment(self.folder / f"hf-{name}"),
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        command = [sys.executable, __file__, "--child", order]
        subprocess.run(command, env=environment, check=True)
        return json.loads(result.read_text())

    def publish(self, count: int) -> None:
        """Append a file of new recordings to the repo."""
        file = self.folder / "upload.parquet"
        self.child("make", file, self.rows, count)
        self.hub.api().upload_file(
            path_or_fileobj=file,
            path_in_repo=f"data/train-{self.rows:05d}.parquet",
            repo_id=REPO,
            repo_type="dataset",
        )
        self.rows += count
        file.unlink()

    def grow(self, to: int) -> None:
        """Publish until the repo holds so many recordings."""
        while self.rows < to:
            self.publish(min(FILE_ROWS, to - self.rows))

    def store(self) -> str:
        """A new place in S3."""
        return str(self.s3.store().location)


def stored_bytes(client: Any, store: str) -> int:
    """All that a refresh keeps in S3: shards, manifests, indexes, records."""
    bucket, _, prefix = store.removeprefix("s3://").partition("/")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return sum(item["Size"] for page in pages for item in page.get("Contents", ()))


def measure(bench: Bench, utterances: int, large: int) -> dict[str, Any]:
    """All figures; prints what is going on, since it takes minutes."""
    from whisper_retrain.local.demo.base_model import convert_base_model

    say(f"making and publishing {utterances} recordings")
    processor = convert_base_model(bench.folder / "base-model")
    bench.grow(utterances)
    say(f"the usual recipe on {utterances}, num_proc={PEER_PROCESSES}")
    peer = bench.child("peer", processor, bench.folder / "datasets")
    say(f"refresh of {utterances}")
    small_store = bench.store()
    small = bench.child("refresh", small_store)
    disk_bytes = stored_bytes(bench.s3.client(), small_store)
    say(f"making and publishing {large - utterances} more")
    bench.grow(large)
    say(f"refresh of {large}, then of 1 % more, then unchanged")
    store = bench.store()
    full = bench.child("refresh", store)
    bench.publish(max(1, large // 100))
    increment = bench.child("refresh", store)
    unchanged = bench.child("refresh", store)
    return {
        "utterances": utterances,
        "large": large,
        "peer_s": peer["seconds"],
        "refresh_s": small["seconds"],
        "peer_cpu_s": peer["cpu_s"],
        "refresh_cpu_s": small["cpu_s"],
        "cpu_ratio": peer["cpu_s"] / small["cpu_s"],
        "speedup": peer["seconds"] / small["seconds"],
        "peer_disk_mib": peer["disk_bytes"] / 2**20,
        "peer_features_mib": peer["features_bytes"] / 2**20,
        "refresh_disk_mib": disk_bytes / 2**20,
        "disk_ratio": peer["disk_bytes"] / disk_bytes,
        "large_s": full["seconds"],
        "incremental_s": increment["seconds"],
        "incremental_cpu_s": increment["cpu_s"],
        "large_cpu_s": full["cpu_s"],
        "incremental_decoded": increment["decoded"],
        "incremental_share": increment["seconds"] / full["seconds"],
        "unchanged_s": unchanged["seconds"],
        "unchanged_decoded": unchanged["decoded"],
        "rss_mib": small["peak_rss_mib"],
        "peak_rss_mib": full["peak_rss_mib"],
        "rss_growth": full["peak_rss_mib"] / small["peak_rss_mib"] - 1,
    }


def say(text: str) -> None:
    """A line on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def table(found: dict[str, Any]) -> str:
    """The figures with their bounds, as Markdown."""
    n, large = found["utterances"], found["large"]
    rows = [
        (f"usual recipe, {n} utterances", f"{found['peer_s']:.1f} s", ""),
        (f"refresh, {n} utterances", f"{found['refresh_s']:.1f} s", ""),
        ("times faster", f"{found['speedup']:.1f}", "at least 8"),
        ("processor time, usual recipe", f"{found['peer_cpu_s']:.1f} s", ""),
        ("processor time, refresh", f"{found['refresh_cpu_s']:.1f} s", ""),
        ("disk, usual recipe", f"{found['peer_disk_mib']:.0f} MiB", ""),
        ("disk, refresh", f"{found['refresh_disk_mib']:.0f} MiB", ""),
        ("times less disk", f"{found['disk_ratio']:.1f}", "at least 12"),
        (f"refresh, {large} utterances", f"{found['large_s']:.1f} s", ""),
        ("1 % new", f"{found['incremental_s']:.2f} s", ""),
        ("1 % new, share of all", f"{found['incremental_share']:.1%}", "at most 5 %"),
        ("unchanged", f"{found['unchanged_s']:.2f} s", "under 2 s"),
        ("unchanged, decoded", f"{found['unchanged_decoded']}", "0"),
        (f"peak RSS, {n} -> {large}", f"{found['rss_growth']:+.1%}", "within 10 %"),
        (f"peak RSS, {large}", f"{found['peak_rss_mib']:.0f} MiB", "under 1024 MiB"),
    ]
    lines = ["| measured | figure | bound |", "|---|---:|---|"]
    return "\n".join([*lines, *(f"| {a} | {b} | {c} |" for a, b, c in rows)])


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--utterances", type=int, default=1_000)
    parser.add_argument("--large", type=int, default=4_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, args, result = json.loads(options.child)
        Path(result).write_text(json.dumps(CHILDREN[name](*args)))
        return
    # The servers are stopped on the way out, also when someone else ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    from tests.fixtures.hub import HubServer
    from tests.fixtures.s3 import running_s3

    with tempfile.TemporaryDirectory(prefix="refresh-benchmark-") as name:
        folder = Path(name)
        (folder / "s3").mkdir()
        (folder / "hub").mkdir()
        hub = HubServer(folder / "hub")
        hub.start()
        try:
            with running_s3(folder / "s3") as s3:
                found = measure(Bench(folder, s3, hub), options.utterances, options.large)
        finally:
            hub.stop()
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

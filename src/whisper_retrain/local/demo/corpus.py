"""Makes the demo's parquet files: the columns and the manners of the dataset it stands in for.

Like yashtiwari/PaulMooney-Medical-ASR-Data, the files call their splits train, validation and
test, with most rows in test: names that mean nothing to this project. What was made is kept under
the digest of what it was made from, and never made twice.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from whisper_retrain.local.demo.plan import Reading, everyday_readings, readings
from whisper_retrain.local.demo.speakers import SPEAKERS
from whisper_retrain.local.demo.synthesis import Progress, synthesise
from whisper_retrain.whole import whole_folder

CORPUS_VERSION = "1"
"""Raise it when the same plan would give other recordings."""

SPLITS = ("train", "validation", "test")
FEATURES = {
    "id": {"dtype": "string", "_type": "Value"},
    "sentence": {"dtype": "string", "_type": "Value"},
    "prompt": {"dtype": "string", "_type": "Value"},
    "speaker_id": {"dtype": "int64", "_type": "Value"},
    "path": {"_type": "Audio"},
}
"""The columns in the words of the `datasets` library, which reads them from the files."""

NOT_AUDIO = b"<html><head><title>503 Service Unavailable</title></head><body></body></html>\n"
Recordings = dict[str, bytes]


def make_corpus(
    cache_dir: Path,
    drop: int,
    progress: Progress,
    plan: tuple[Reading, ...] | None = None,
    originals: Path | None = None,
) -> Path:
    """The directory with the parquet files of a drop, made if it is not there yet.

    `progress` gets the recordings made and their total; nothing, when they were there. Drop 2
    holds copies of recordings of drop 1, which are in the folder `originals`; without one it makes
    drop 1 first. `plan` is what the drop consists of: by default all its `readings`.
    """
    plan = plan or readings(drop)
    copied = {reading.copied for reading in plan} - {""}
    copies: Recordings = {}
    target = _directory(cache_dir, f"drop-{drop}", plan)
    if copied and not target.exists():
        copies = _recordings(originals or make_corpus(cache_dir, 1, progress), copied)
    return _make(target, f"drop{drop}", plan, copies, progress)


def make_everyday_corpus(cache_dir: Path, progress: Progress) -> Path:
    """The directory with the parquet file of everyday speech, made if it is not there yet."""
    plan = everyday_readings()
    return _make(_directory(cache_dir, "everyday", plan), "everyday", plan, {}, progress)


def _directory(cache_dir: Path, name: str, plan: tuple[Reading, ...]) -> Path:
    speakers = {reading.speaker_id for reading in plan}
    made_from = {
        "version": CORPUS_VERSION,
        "plan": [dataclasses.asdict(reading) for reading in plan],
        "speakers": [dataclasses.asdict(SPEAKERS[id_]) for id_ in sorted(speakers)],
    }
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return cache_dir / f"{name}-{digest[:12]}"


def _make(
    target: Path, name: str, plan: tuple[Reading, ...], copies: Recordings, progress: Progress
) -> Path:
    if target.exists():
        return target
    texts: dict[int, list[str]] = {}
    for reading in plan:
        if reading.spoken:
            texts.setdefault(reading.speaker_id, []).append(reading.spoken)
    spoken = synthesise(texts, progress)
    with whole_folder(target) as draft:
        for split in SPLITS:
            rows = [
                _row(reading, copies.get(reading.copied) or spoken[_key(reading)])
                for reading in plan
                if _split_name(reading) == split
            ]
            if rows:
                _write_parquet(draft / f"{split}-{name}.parquet", rows)
    return target


def _key(reading: Reading) -> tuple[int, str]:
    return reading.speaker_id, reading.spoken


def _split_name(reading: Reading) -> str:
    """About 6 % train, 6 % validation, 88 % test, by chance, as in the original."""
    place = hashlib.sha256(reading.id.encode()).digest()[0]
    return "train" if place < 15 else "validation" if place < 30 else "test"


def _row(reading: Reading, flac: bytes) -> dict[str, Any]:
    audio = NOT_AUDIO if reading.fault == "undecodable" else flac
    return {
        "id": reading.id,
        "sentence": reading.sentence,
        "prompt": reading.prompt,
        "speaker_id": reading.speaker_id,
        "path": {"bytes": audio, "path": f"{reading.id}.flac"},
    }


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {"string": pa.string(), "int64": pa.int64()}
    fields = [
        (name, types.get(feature.get("dtype", ""), audio)) for name, feature in FEATURES.items()
    ]
    metadata = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    table = pa.Table.from_pylist(rows, pa.schema(fields, metadata=metadata))
    # Audio is compressed already; small row groups let a reader take a few rows at a time.
    pq.write_table(table, path, compression="none", row_group_size=100)


def _recordings(directory: Path, ids: Iterable[str]) -> Recordings:
    import pyarrow.dataset as ds

    wanted = ds.field("id").isin(sorted(ids))
    table = ds.dataset(directory).to_table(columns=["id", "path"], filter=wanted)
    return {row["id"]: row["path"]["bytes"] for row in table.to_pylist()}

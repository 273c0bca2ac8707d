"""What a retraining starts from: dataset sources and base model, without audio and weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from whisper_retrain.config import BaseModelConfig, DatasetSource
from whisper_retrain.data.plan import MAY_BE_EMPTY, columns_of
from whisper_retrain.doctor.checks import CheckResult
from whisper_retrain.edges.hub import HubClient
from whisper_retrain.edges.hub_errors import translated
from whisper_retrain.errors import InputError
from whisper_retrain.model_files import NEEDED

TOKENIZERS = ("tokenizer.json", "vocab.json")
PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def source(name: str, hub: HubClient, source: DatasetSource) -> CheckResult:
    """One source: readable, the columns named are there, not empty."""
    if source.kind != "hub":
        return _listing(name, source)
    revision = hub.resolve(source.location, source.ref, "dataset")
    where = f"{source.location}@{revision[:12]}"
    files = sorted(
        path
        for path in hub.files(source.location, revision, "dataset")
        if path.endswith(".parquet")
    )
    if not files:
        raise InputError(
            "the dataset repo holds no parquet files",
            where=where,
            remedy="publish it with datasets' push_to_hub, audio embedded",
        )
    rows = _rows(hub, source, revision, files)
    return CheckResult(name, "ok", f"{where}: {len(files)} files, {rows} rows in the first read")


def _rows(hub: HubClient, source: DatasetSource, revision: str, files: list[str]) -> int:
    """Rows of the first file that has any; its columns are checked. Reads only parquet footers."""
    from whisper_retrain.data.hub_source import check_columns

    for file in files:
        parquet = _footer(hub, source.location, revision, file)
        check_columns(parquet.schema_arrow, columns_of(source), f"{source.location}/{file}")
        if parquet.metadata.num_rows:
            return int(parquet.metadata.num_rows)
    raise InputError(
        "the dataset is empty",
        where=f"{source.location}@{revision[:12]}",
        expected="at least one row",
        got=f"0 rows in {len(files)} files",
        remedy="use a ref that has data",
    )


def _footer(hub: HubClient, repo: str, revision: str, file: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem

    where = f"{repo}/{file}@{revision[:12]}"
    files = HfFileSystem(endpoint=hub.endpoint, token=hub.api.token, skip_instance_cache=True)
    path = f"datasets/{repo}@{revision}/{file}"
    with translated(where):
        try:
            # One request for the footer instead of one for each read of a few bytes.
            with files.open(path, block_size=2**16, cache_type="readahead") as opened:
                return pq.ParquetFile(opened)
        except pa.ArrowInvalid as error:
            raise InputError(
                "not a whole parquet file", where=where, got=str(error), remedy="publish it again"
            ) from error


def _listing(name: str, source: DatasetSource) -> CheckResult:
    """A folder or S3 prefix: its listing, with the columns named."""
    from whisper_retrain.data.listing_source import listed_rows
    from whisper_retrain.data.trees import open_tree

    tree = open_tree(source.location)
    rows = sum(1 for _ in listed_rows(source, tree, tree.stamps()))
    if not rows and source.preset not in MAY_BE_EMPTY:
        raise InputError(
            "the listing is empty", where=source.location, remedy="add rows to the listing"
        )
    return CheckResult(name, "ok", f"{source.location}: {rows} rows listed")


def base_model(name: str, hub: HubClient, config: BaseModelConfig) -> CheckResult:
    """A Whisper checkpoint with everything that fine-tuning and inference load."""
    revision = hub.resolve(config.repo, config.ref)
    where = f"{config.repo}@{revision[:12]}"
    files = hub.files(config.repo, revision)
    settings = _config(hub, config.repo, revision) if "config.json" in files else {}
    if settings.get("model_type") != "whisper":
        raise InputError(
            "the base model is no Whisper",
            where=where,
            expected="config.json with model_type whisper",
            got=f"model_type {settings.get('model_type')}" if settings else "no config.json",
            remedy="name a Whisper checkpoint, such as openai/whisper-small.en",
        )
    _require_files(where, set(files))
    size = sum(file.size for path, file in files.items() if path.endswith(".safetensors"))
    width, layers = settings.get("d_model"), settings.get("encoder_layers")
    return CheckResult(
        name, "ok", f"{where}: Whisper, {layers} layers of {width}, {size / 2**20:.0f} MiB"
    )


def _require_files(where: str, names: set[str]) -> None:
    missing = [name for name in NEEDED if name not in names]
    for kind, choices in (("a tokenizer", TOKENIZERS), ("a preprocessor", PROCESSORS)):
        if names.isdisjoint(choices):
            missing.append(f"{kind} ({' or '.join(choices)})")
    if not any(name.endswith(".safetensors") and "/" not in name for name in names):
        missing.append("*.safetensors")
    if missing:
        raise InputError(
            "the base model is not complete",
            where=where,
            expected=f"also {', '.join(missing)}",
            remedy="name a transformers checkpoint with safetensors weights",
        )


def _config(hub: HubClient, repo: str, revision: str) -> dict[str, Any]:
    with translated(f"{repo}@{revision[:12]}/config.json"):
        path = hub.api.hf_hub_download(repo, "config.json", revision=revision)
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

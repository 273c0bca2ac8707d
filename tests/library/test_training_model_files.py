"""The files that make a model, their digest, and their way to and from S3."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.training import write_tiny_model
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import InputError, IntegrityError
from whisper_retrain.model_files import (
    download_checkpoint,
    model_digest,
    model_files,
    upload_checkpoint,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "model")


def test_a_checkpoint_survives_its_way_through_s3(
    model: Path, s3_store: S3Store, tmp_path: Path
) -> None:
    checkpoint = upload_checkpoint(s3_store, "some/prefix", model)
    assert checkpoint.model_digest == model_digest(model)
    assert set(checkpoint.files) == {path.name for path in model_files(model)}
    target = download_checkpoint(s3_store, checkpoint, tmp_path / "target")
    assert model_digest(target) == checkpoint.model_digest
    download_checkpoint(s3_store, checkpoint, target)  # what is there is kept


def test_what_inference_does_not_read_has_no_part_in_the_digest(model: Path) -> None:
    before = model_digest(model)
    (model / "README.md").write_text("a model card")
    (model / "training_args.bin").write_bytes(b"...")
    assert model_digest(model) == before


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json"])
def test_every_file_that_inference_reads_changes_the_digest(model: Path, name: str) -> None:
    before = model_digest(model)
    (model / name).write_text((model / name).read_text() + "\n")
    assert model_digest(model) != before


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors"])
def test_a_directory_without_a_needed_file_is_refused(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(InputError, match="not a complete model"):
        model_digest(model)


def test_a_directory_with_another_models_files_is_not_mixed(
    model: Path, s3_store: S3Store, tmp_path: Path
) -> None:
    checkpoint = upload_checkpoint(s3_store, "prefix", model)
    target = tmp_path / "target"
    target.mkdir()
    (target / "added_tokens.json").write_text("{}")
    with pytest.raises(IntegrityError, match="other model files"):
        download_checkpoint(s3_store, checkpoint, target)


def test_bytes_changed_in_the_bucket_are_refused(
    model: Path, s3_store: S3Store, tmp_path: Path
) -> None:
    checkpoint = upload_checkpoint(s3_store, "prefix", model)
    s3_store.write("prefix/config.json", b"{}")
    with pytest.raises(IntegrityError):
        download_checkpoint(s3_store, checkpoint, tmp_path / "target")
    assert not (tmp_path / "target" / "config.json").exists()

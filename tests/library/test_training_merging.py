"""Averages of models: made once, known by what went into them, plain transformers files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.fixtures.evidence import some_evidence
from tests.fixtures.training import write_tiny_model
from whisper_retrain.edges.store import S3Store
from whisper_retrain.model_files import download_checkpoint, model_digest
from whisper_retrain.records import MergedModel, ModelRef
from whisper_retrain.release.evidence import lineage_of
from whisper_retrain.training.merging import MergeJob, MergePart, merge, merged_run
from whisper_retrain.training.model import load_model
from whisper_retrain.training.weights import weights_of


def part(name: str, folder: Path, share: float) -> MergePart:
    return MergePart(model=ModelRef(name=name, model_digest=model_digest(folder)), share=share)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models of one architecture."""
    place = tmp_path_factory.mktemp("models")
    return [write_tiny_model(place / str(seed), seed=seed) for seed in (1, 2)]


def test_an_average_is_that_of_each_weight_by_the_shares(
    folders: list[Path], s3_store: S3Store, tmp_path: Path
) -> None:
    job = MergeJob(parts=(part("cold", folders[0], 0.25), part("base", folders[1], 0.75)))
    merged = merge(job, folders, s3_store, tmp_path / "work")
    found = weights_of(load_model(download_checkpoint(s3_store, merged, tmp_path / "merged")))
    first, second = (weights_of(load_model(folder)) for folder in folders)
    for name, value in found.items():
        assert torch.allclose(value, 0.25 * first[name] + 0.75 * second[name], atol=1e-6)
    assert merge(job, [], s3_store, tmp_path / "nothing") == merged, "it is not made twice"


def test_a_merge_is_known_by_files_and_shares_and_by_no_name(folders: list[Path]) -> None:
    one = MergeJob(parts=(part("cold", folders[0], 0.5), part("champion", folders[1], 0.5)))
    same = MergeJob(parts=(part("seed-1", folders[0], 0.5), part("seed-2", folders[1], 0.5)))
    other = MergeJob(parts=(part("cold", folders[0], 0.25), part("champion", folders[1], 0.75)))
    assert one.digest == same.digest != other.digest


def test_its_record_names_what_went_into_it_and_so_does_the_lineage(folders: list[Path]) -> None:
    evidence = some_evidence()
    job = MergeJob(parts=(part("cold", folders[0], 0.5), part("champion", folders[1], 0.5)))
    run = merged_run(job, evidence.run, evidence.run.checkpoint, 0.04)
    assert run.validation_wer == 0.04
    assert run.base_model == evidence.run.base_model
    assert run.merged_from == (
        MergedModel(name="cold", model_digest=model_digest(folders[0]), share=0.5),
        MergedModel(name="champion", model_digest=model_digest(folders[1]), share=0.5),
    )
    assert "merged_from" not in lineage_of(evidence)
    lineage = lineage_of(evidence.model_copy(update={"run": run}))
    assert lineage["merged_from"] == [one.model_dump() for one in run.merged_from]

"""A longer training goes on from a shorter one's trunk, and ends with the very same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.training import write_tiny_model
from tests.library.test_training_run import Rig, losses, weights
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import InterruptedTrainingError
from whisper_retrain.training.job import TrainingJob
from whisper_retrain.training.schedule import Schedule
from whisper_retrain.training.trunk import forget_trunk, trunk_of


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def rig(s3_store: S3Store, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr("whisper_retrain.training.loop.NEWS_INTERVAL_S", 0.0)
    return Rig(s3_store, base, tmp_path)


def job(rig: Rig, steps: int, **changes: Any) -> TrainingJob:
    """A training of so many steps out of 20; warm-up and validations are those of the longest."""
    shares = {"warmup_share": 2 / steps, "eval_share": 3 / steps}
    return rig.job(max_steps=steps, decay="last-fifth", keep_trunk=True, **shares, **changes)


def test_it_takes_no_step_twice_and_ends_as_if_it_had_been_alone(rig: Rig) -> None:
    short, long = job(rig, 10), job(rig, 20)
    assert short.digest != long.digest
    first = rig.train(short, "one")
    assert first.trunk
    gone_on = rig.train(long, "two")
    assert gone_on.trunk
    forget_trunk(rig.store, gone_on.trunk)
    alone = rig.train(long, "three")
    assert losses(gone_on) == losses(alone)
    assert weights(rig, gone_on) == weights(rig, alone)
    assert gone_on.validation_wer == alone.validation_wer
    assert 0 < gone_on.inherited_s < gone_on.duration_s
    assert (first.inherited_s, alone.inherited_s) == (0, 0)
    at_8 = next(p.elapsed_s for p in first.curve if p.step == 8 and p.loss is not None)
    assert gone_on.inherited_s == pytest.approx(at_8, abs=0.2)


def test_killed_after_the_trunk_it_resumes_at_its_own_state(rig: Rig) -> None:
    rig.train(job(rig, 10), "one")
    rig.news.clear()
    with pytest.raises(InterruptedTrainingError):
        rig.train(job(rig, 20), "two", stopping=rig.after_steps(11))
    rig.news.clear()
    resumed = rig.train(job(rig, 20), "three")
    assert resumed.resumed_from_steps == (11,)
    assert resumed.inherited_s > 0


def test_a_longer_ones_trunk_is_too_late_for_a_shorter_one(rig: Rig) -> None:
    rig.train(job(rig, 20), "long")
    assert rig.train(job(rig, 10), "short").inherited_s == 0


@pytest.mark.parametrize("changes", [{"seed": 2}, {"learning_rate": 2e-3}, {"batch_size": 4}])
def test_other_settings_have_another_trunk(rig: Rig, changes: dict[str, Any]) -> None:
    schedule = Schedule(steps=10, warmup_steps=2, eval_steps=3, constant_steps=8)
    jobs = [job(rig, 10), job(rig, 20), job(rig, 20, **changes)]
    same, longer, other = (trunk_of(one, schedule) for one in jobs)
    assert same
    assert longer
    assert other
    assert same.digest == longer.digest != other.digest


def test_patience_that_runs_out_in_the_trunk_ends_the_longer_one_at_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    wers = iter([0.2, 0.3])
    monkeypatch.setattr(
        "whisper_retrain.training.validation.word_error_rate", lambda *_: next(wers)
    )
    first = rig.train(job(rig, 10, patience=1), "one")
    longer = rig.train(job(rig, 20, patience=1), "two")
    assert (first.steps, longer.steps, longer.best_step) == (6, 6, 3)


def test_without_the_state_in_s3_it_begins_anew_to_the_same_end(rig: Rig) -> None:
    first = rig.train(job(rig, 10), "one")
    assert first.trunk
    forget_trunk(rig.store, first.trunk)
    assert not list(rig.store.keys("trunk/"))
    assert rig.train(job(rig, 20), "two").inherited_s == 0


def test_a_trunk_is_kept_on_request_only_and_changes_no_digest(rig: Rig) -> None:
    kept = job(rig, 10)
    quiet = kept.model_copy(update={"config": kept.config.model_copy(update={"keep_trunk": False})})
    assert quiet.digest == kept.digest
    assert rig.train(quiet).trunk is None
    assert not list(rig.store.keys("trunk/"))

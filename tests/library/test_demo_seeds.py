"""The demo's drops for other seeds: the same sentences, dealt to other voices of their groups."""

from __future__ import annotations

import pytest

from benchmarks.demo_seeds import THE_DEMO, dealt, demo_settings
from whisper_retrain.local.demo.plan import DROPS, readings
from whisper_retrain.local.demo.speakers import DEMO_TEST_SPEAKERS


@pytest.mark.parametrize("drop", DROPS)
def test_seed_one_is_the_demo_without_its_faulty_recordings(drop: int) -> None:
    theirs = [(one.speaker_id, one.spoken) for one in readings(drop) if not one.fault]
    assert [(one.speaker.id, one.text) for one in dealt(drop, THE_DEMO)] == theirs


@pytest.mark.parametrize("drop", DROPS)
def test_another_seed_exchanges_voices_within_their_groups(drop: int) -> None:
    demo, other = dealt(drop, THE_DEMO), dealt(drop, 2)
    assert [one.text for one in other] == [one.text for one in demo]
    assert [one.speaker.id for one in other] != [one.speaker.id for one in demo]
    for one, two in zip(demo, other, strict=True):
        assert (one.speaker.id in DEMO_TEST_SPEAKERS) == (two.speaker.id in DEMO_TEST_SPEAKERS)


def test_it_is_trained_and_judged_as_the_deployment_says() -> None:
    training, decoding, policy = demo_settings()
    assert training.epochs
    assert training.batch_size == 16
    assert decoding.batch_size == 32
    assert policy.planned_looks == 6

"""Augmentation: reproducible, within bounds, and off unless asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.fixtures.training import RATE, say
from whisper_retrain.config import TrainingConfig
from whisper_retrain.training.augmentation import SpecAugment, add_noise, augmented, change_speed

WAVE = say("pain cough fever")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_nothing_is_changed_by_default() -> None:
    assert augmented(WAVE, TrainingConfig(), rng()) is WAVE


def test_the_same_seed_gives_the_same_speech() -> None:
    config = TrainingConfig(speed_augment=0.1, noise_augment_share=1.0)
    first, second, other = (augmented(WAVE, config, rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert len(first) != len(other)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_changes_length_and_pitch(factor: float) -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE).astype(np.float32)
    changed = change_speed(tone, factor)
    assert len(changed) == pytest.approx(RATE / factor, rel=0.01)
    spectrum = np.abs(np.fft.rfft(changed))
    assert np.argmax(spectrum) * RATE / len(changed) == pytest.approx(500 * factor, rel=0.01)


def test_slower_speech_never_grows_beyond_thirty_seconds() -> None:
    assert len(change_speed(np.ones(29 * RATE, np.float32), 0.5)) <= 30 * RATE


def test_speech_without_samples_stays_so() -> None:
    assert len(change_speed(np.zeros(0, np.float32), 0.9)) == 0
    assert len(add_noise(np.zeros(0, np.float32), 10.0, rng())) == 0


@pytest.mark.parametrize("snr_db", [10.0, 30.0])
def test_noise_has_the_ratio_asked_for(snr_db: float) -> None:
    noise = add_noise(WAVE, snr_db, rng()) - WAVE
    ratio = 10 * np.log10(np.mean(np.square(WAVE)) / np.mean(np.square(noise)))
    assert ratio == pytest.approx(snr_db, abs=0.1)


def test_silence_gets_no_noise() -> None:
    assert not add_noise(np.zeros(100, np.float32), 10.0, rng()).any()


def test_masks_cover_bands_of_the_training_spectrogram_only() -> None:
    features = torch.randn(4, 80, 300)
    torch.manual_seed(0)
    masked = SpecAugment().train()(features)
    changed = (masked != features).float().mean()
    assert 0.02 < changed < 0.6
    assert torch.equal(SpecAugment().eval()(features), features)

"""Making speech more varied than it was recorded: speed, noise, masked spectrograms.

All randomness follows from the seeds given, so a step that is done again is the same step.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from whisper_retrain.config import TrainingConfig
from whisper_retrain.training.speech import Wave
from whisper_retrain.whisper_constants import CONTEXT_SAMPLES, SAMPLING_RATE_HZ

SNR_DB = (10.0, 30.0)
LEAST_CHANGE = 1e-3  # of speed: less is not worth resampling
TIME_MASKS, FREQUENCY_MASKS = 2, 2
TIME_MASK_SHARE, FREQUENCY_MASK_SHARE = 0.1, 0.2  # at most, of the whole, for each mask


def augmented(wave: Wave, config: TrainingConfig, rng: np.random.Generator) -> Wave:
    """The utterance at another speed (pitch with it; Ko et al. 2015) and with noise, by chance."""
    if config.speed_augment:
        wave = change_speed(wave, 1 + config.speed_augment * rng.uniform(-1, 1))
    if config.noise_augment_share and rng.random() < config.noise_augment_share:
        wave = add_noise(wave, rng.uniform(*SNR_DB), rng)
    return wave


def change_speed(wave: Wave, factor: float) -> Wave:
    """`factor` above 1 is faster and shorter; never longer than the model's 30 s."""
    import soxr

    factor = max(factor, len(wave) / CONTEXT_SAMPLES)
    if len(wave) == 0 or abs(factor - 1) < LEAST_CHANGE:
        return wave
    changed = soxr.resample(wave, factor * SAMPLING_RATE_HZ, SAMPLING_RATE_HZ)
    return np.asarray(changed[:CONTEXT_SAMPLES], np.float32)


def add_noise(wave: Wave, snr_db: float, rng: np.random.Generator) -> Wave:
    """Noise between white and brown, so loud that the signal-to-noise ratio is `snr_db`."""
    power = float(np.mean(np.square(wave))) if len(wave) else 0.0
    if power == 0.0:
        return wave
    noise = colored_noise(len(wave), rng)
    wanted = power / 10 ** (snr_db / 10)
    noise *= np.sqrt(wanted / np.mean(np.square(noise)))
    return np.asarray(wave + noise, np.float32)


class SpecAugment(nn.Module):
    """Masks bands of time and frequency with the utterance's mean (Park et al. 2019)."""

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, mel bins, frames) with masks; unchanged outside training."""
        if not self.training:
            return features
        mean = features.mean(dim=(1, 2), keepdim=True)
        mask = torch.zeros_like(features, dtype=torch.bool)
        for _ in range(FREQUENCY_MASKS):
            mask |= _bands(features, features.shape[1], FREQUENCY_MASK_SHARE)[:, :, None]
        for _ in range(TIME_MASKS):
            mask |= _bands(features, features.shape[2], TIME_MASK_SHARE)[:, None, :]
        return torch.where(mask, mean, features)


def _bands(features: Tensor, length: int, share: float) -> Tensor:
    """One random band an utterance; bool, shape (batch, length)."""
    rows = len(features)
    width = torch.rand(rows, 1) * share * length
    start = torch.rand(rows, 1) * (length - width)
    at = torch.arange(length)[None, :]
    return ((at >= start) & (at < start + width)).to(features.device)


def colored_noise(samples: int, rng: np.random.Generator) -> Wave:
    """Noise whose amplitude falls with frequency to a power between 0 (white) and 1 (brown)."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    tilt = np.arange(1, len(spectrum) + 1) ** (-rng.uniform(0, 1))
    return np.asarray(np.fft.irfft(spectrum * tilt, samples))

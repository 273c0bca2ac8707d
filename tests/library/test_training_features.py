"""Log-mel on the fly: the figures of transformers' WhisperFeatureExtractor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from tests.fixtures.training import RATE, say
from whisper_retrain.training.features import LogMel


def reference(wave: np.ndarray, mel_bins: int) -> np.ndarray:
    extractor = WhisperFeatureExtractor(feature_size=mel_bins)
    return np.asarray(extractor(wave, sampling_rate=RATE).input_features[0])


def padded(wave: np.ndarray, seconds: float) -> torch.Tensor:
    return torch.from_numpy(np.pad(wave, (0, round(seconds * RATE) - len(wave))))[None]


@pytest.mark.parametrize("mel_bins", [80, 128])
def test_equals_the_reference_at_thirty_seconds(mel_bins: int) -> None:
    wave = say("pain cough fever rash", seed=3)
    ours = LogMel(mel_bins)(padded(wave, 30.0))[0].numpy()
    assert ours.shape == (mel_bins, 3000)
    np.testing.assert_allclose(ours, reference(wave, mel_bins), atol=1e-4)


@pytest.mark.parametrize("seconds", [1.6, 2.24, 7.04])
def test_a_short_context_is_the_beginning_of_the_long_one(seconds: float) -> None:
    wave = say("pain cough", seed=4)
    ours = LogMel(80)(padded(wave, seconds))[0].numpy()
    np.testing.assert_allclose(ours, reference(wave, 80)[:, : ours.shape[1]], atol=1e-4)


def test_an_utterance_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    loud, quiet = say("fever rash"), 0.001 * say("fever rash")
    together = LogMel(80)(torch.cat([padded(loud, 3.2), padded(quiet, 3.2)]))
    alone = LogMel(80)(padded(quiet, 3.2))
    torch.testing.assert_close(together[1:], alone)


def test_digital_silence_is_finite() -> None:
    features = LogMel(80)(torch.zeros(1, 2 * RATE))
    np.testing.assert_allclose(
        features[0].numpy(), reference(np.zeros(2 * RATE, np.float32), 80)[:, :200], atol=1e-4
    )


def test_half_precision_around_it_changes_nothing() -> None:
    wave = padded(say("rash"), 1.6)
    with torch.autocast("cpu", torch.bfloat16):
        inside = LogMel(80)(wave)
    torch.testing.assert_close(inside, LogMel(80)(wave), rtol=0, atol=0)

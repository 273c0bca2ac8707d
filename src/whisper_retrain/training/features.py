"""Log-mel spectrograms, computed where and when they are needed; never stored.

The same figures as transformers' WhisperFeatureExtractor (which see for the formula: HTK-less
slaney mel filters over the power of a 400-sample Hann window every 160 samples, log10, clamped to
8 below the utterance's maximum, then (x + 4) / 4), for any length, on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from whisper_retrain.whisper_constants import HOP_SAMPLES, SAMPLING_RATE_HZ, WINDOW_SAMPLES

DYNAMIC_RANGE = 8.0  # log10 units below the maximum
FLOOR = 1e-10


class LogMel(nn.Module):
    """Waveforms (batch, samples) at 16 kHz to log-mel (batch, mel bins, samples / 160)."""

    def __init__(self, mel_bins: int) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        filters = mel_filter_bank(
            num_frequency_bins=1 + WINDOW_SAMPLES // 2,
            num_mel_filters=mel_bins,
            min_frequency=0.0,
            max_frequency=SAMPLING_RATE_HZ / 2,
            sampling_rate=SAMPLING_RATE_HZ,
            norm="slaney",
            mel_scale="slaney",
        )
        self.filters: Tensor
        self.window: Tensor
        weights = torch.from_numpy(filters).to(torch.float32).T.contiguous()
        self.register_buffer("filters", weights, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW_SAMPLES), persistent=False)

    @torch.no_grad()
    def forward(self, waves: Tensor) -> Tensor:
        """Always in float32: half precision would lose quiet speech."""
        with torch.autocast(waves.device.type, enabled=False):
            spectrum = torch.stft(
                waves.float(), WINDOW_SAMPLES, HOP_SAMPLES, window=self.window, return_complex=True
            )
            # The last frame is beyond the end, as in the reference implementation.
            power = spectrum[..., :-1].abs().square()
            log = (self.filters @ power).clamp_min(FLOOR).log10()
            peak = log.amax(dim=(1, 2), keepdim=True)
            return (torch.maximum(log, peak - DYNAMIC_RANGE) + 4.0) / 4.0

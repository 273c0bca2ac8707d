"""What Whisper's architecture fixes, for every size, and how each number follows from the others.

Radford et al. 2022, section 2.2, and `openai/whisper`, `audio.py`.
"""

from __future__ import annotations

SAMPLING_RATE_HZ = 16_000
WINDOW_SAMPLES = 400
"""Of one spectrum: 25 ms."""
HOP_SAMPLES = 160
"""Between two spectra, which are the frames of the log-mel spectrogram: 10 ms."""
CONTEXT_S = 30.0
"""What the encoder hears at once; shorter audio is padded to it."""
CONTEXT_SAMPLES = round(CONTEXT_S * SAMPLING_RATE_HZ)
"""480,000."""
FRAMES_PER_POSITION = 2
"""The stride of the encoder's second convolution: one position is 20 ms."""
POSITION_S = FRAMES_PER_POSITION * HOP_SAMPLES / SAMPLING_RATE_HZ
CONTEXT_POSITIONS = CONTEXT_SAMPLES // (FRAMES_PER_POSITION * HOP_SAMPLES)
"""1,500: the length of the encoder's position table."""
MAX_LABEL_IDS = 448
"""The length of the decoder's position table: prompt, text and end together."""

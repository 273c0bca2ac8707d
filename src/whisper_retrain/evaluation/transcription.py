"""Whisper as its users run it: 30 s of context, in batches, tokens bounded by duration.

Knows nothing of references or storage. Imports torch when a `Transcriber` is made, not before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whisper_retrain.config import DecodingConfig
from whisper_retrain.errors import InputError, OutOfMemoryError

Audio = npt.NDArray[np.float32]
Progress = Callable[[int, int, str], None]
"""Called with utterances done, utterances in all, and what is going on."""

SAMPLING_RATE_HZ = 16_000
CONTEXT_S = 30.0
SILENT_S = 8.0
"""No stretch without a call of the progress function is longer than this."""
SLACK_TOKENS = 8
"""Added to the bound, so that short utterances may hold a long word and the end token."""


@dataclass(frozen=True)
class Transcript:
    """What the model wrote for one utterance."""

    text: str
    tokens: int
    runaway: bool


class Transcriber:
    """A Whisper model on a device, decoding in one fixed way.

    Batches are what they are given as, so that the same utterances in the same batches give the
    same texts, whatever the sharding; other batches may differ in the last bits of the logits.
    """

    def __init__(self, model_dir: Path, decoding: DecodingConfig, device: str = "auto") -> None:
        import torch
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        self.device = torch.device(pick_device() if device == "auto" else device)
        self.decoding = decoding
        self._processor = WhisperProcessor.from_pretrained(str(model_dir))
        model = WhisperForConditionalGeneration.from_pretrained(str(model_dir), dtype=torch.float32)
        self._model: Any = model.to(self.device).eval()
        self._positions = int(model.config.max_target_positions)
        self._model.generation_config.max_length = self._positions
        self._options = generation_options(self._model.generation_config, decoding)

    def transcribe(self, audios: Sequence[Audio]) -> list[Transcript]:
        """Transcribe one batch of mono 16 kHz float32 audio; past 30 s is cut off."""
        import torch

        bounds = [self.bound(len(audio) / SAMPLING_RATE_HZ) for audio in audios]
        features = self._processor.feature_extractor(
            list(audios),
            sampling_rate=SAMPLING_RATE_HZ,
            return_tensors="pt",
            return_attention_mask=True,
        ).to(self.device)
        try:
            with torch.inference_mode():
                ids = self._model.generate(
                    **features, stopping_criteria=[_bounded(bounds)], **self._options
                ).cpu()
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemoryError(
                "the GPU has too little memory for a batch of transcription",
                got=f"{len(audios)} utterances of 30 s",
                remedy="lower decoding.batch_size",
            ) from error
        return [self._transcript(row, bound) for row, bound in zip(ids, bounds, strict=True)]

    def bound(self, duration_s: float) -> int:
        """The most tokens that an utterance of this duration may have."""
        wanted = ceil(min(duration_s, CONTEXT_S) * self.decoding.max_tokens_per_s) + SLACK_TOKENS
        return min(wanted, self._positions // 2)

    def _transcript(self, ids: Any, bound: int) -> Transcript:
        tokenizer = self._processor.tokenizer
        tokens = ids.tolist()
        ends = tokenizer.eos_token_id in tokens
        written = tokens[: tokens.index(tokenizer.eos_token_id)] if ends else tokens
        text = tokenizer.decode(written, skip_special_tokens=True)
        return Transcript(text.strip(), len(written), runaway=len(written) >= bound)


def _bounded(bounds: Sequence[int]) -> Callable[..., Any]:
    """A stopping criterion by which each utterance of a batch has its own bound of tokens.

    `generate` knows only one bound for all; with that, what an utterance may write would depend
    on the longest one beside it.
    """
    import torch

    prompt: list[int] = []

    def stop(input_ids: Any, scores: Any, **_: Any) -> Any:
        if not prompt:
            prompt.append(input_ids.shape[1] - 1)  # the first call comes after the first token
        written = input_ids.shape[1] - prompt[0]
        limit = torch.tensor(bounds, device=input_ids.device)
        return written >= limit.repeat_interleave(len(input_ids) // len(bounds))

    return stop


def generation_options(generation: Any, decoding: DecodingConfig) -> dict[str, Any]:
    """Keyword arguments of `generate`; raises InputError when a language is missing."""
    options: dict[str, Any] = {
        "num_beams": decoding.num_beams,
        "do_sample": False,
        "return_timestamps": False,
    }
    if not getattr(generation, "is_multilingual", False):
        return options
    language = decoding.language or getattr(generation, "language", None)
    if not language:
        raise InputError(
            "a multilingual model needs to be told the language",
            where="decoding.language",
            expected="a language such as 'en'",
            got="none",
            remedy="set decoding.language, or the language in the model's generation_config",
        )
    return options | {"language": language, "task": decoding.task or "transcribe"}


def pick_device() -> str:
    """The GPU when there is one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def heartbeat(report: Callable[[float], None], every_s: float = SILENT_S) -> Iterator[None]:
    """Call `report` with the seconds gone by, every so often, while the block runs."""
    done, start = threading.Event(), time.monotonic()

    def beat() -> None:
        while not done.wait(every_s):
            report(time.monotonic() - start)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def estimate_snr_db(audio: Audio, frame_s: float = 0.02) -> float | None:
    """Loud over quiet frames in dB (95th over 10th percentile of power); None when too short.

    A rough figure, good for sorting recordings into clean and noisy, without a speech detector.
    """
    width = int(frame_s * SAMPLING_RATE_HZ)
    frames = audio[: len(audio) // width * width].reshape(-1, width)
    if len(frames) < 10:
        return None
    power = np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-12
    loud, quiet = np.percentile(power, [95, 10])
    return round(float(10 * np.log10(loud / quiet)), 2)

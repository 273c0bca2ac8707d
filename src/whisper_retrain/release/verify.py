"""Loads a Whisper model from a folder, as its users would, and transcribes one utterance.

    python -m whisper_retrain.release.verify FOLDER [AUDIO]

A child process, so that a flow needs no torch and survives a crash of it. It uses nothing but the
folder's files (offline) and knows nothing of the Hub. Without AUDIO: one second of silence, to see
whether the model loads at all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from whisper_retrain.errors import PermanentError, TransientError

SAMPLE_RATE = 16_000
TIMEOUT_S = 900
MAX_TOKENS = 128
"""Enough for one utterance; bounds what a bad model may write."""


def transcribe_in_child(folder: Path, audio: Path | None = None) -> str:
    """What the model in `folder` makes of an audio file that soundfile can read.

    Raises PermanentError when it does not load or transcribe; TransientError when the child was
    killed or took longer than TIMEOUT_S.
    """
    command = [sys.executable, "-m", "whisper_retrain.release.verify", str(folder)]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    try:
        child = subprocess.run(
            command + ([str(audio)] if audio else []),
            env=offline,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TransientError(
            "loading and transcribing one utterance took too long",
            where=str(folder),
            expected=f"at most {TIMEOUT_S} s",
            remedy="is the machine overloaded? Run it again",
        ) from error
    if child.returncode < 0:
        raise TransientError(
            "the verifying process was killed",
            where=str(folder),
            got=f"signal {-child.returncode}",
            remedy="out of memory? Free some and run it again",
        )
    if child.returncode:
        raise PermanentError(
            "the model does not load and transcribe from these files alone",
            where=str(folder),
            got=" / ".join(child.stderr.strip().splitlines()[-3:]),
            remedy="look at the checkpoint's files; generation_config and tokenizer are the usual "
            "suspects",
        )
    return str(json.loads(child.stdout.splitlines()[-1])["text"])


def transcribe(folder: Path, audio: Path | None) -> str:
    """Load with `pipeline("automatic-speech-recognition")` and transcribe."""
    import numpy as np
    from transformers import WhisperForConditionalGeneration, pipeline

    asr = pipeline("automatic-speech-recognition", model=str(folder), device="cpu")
    if not isinstance(asr.model, WhisperForConditionalGeneration):
        raise TypeError(f"expected a Whisper model, got {type(asr.model).__name__}")
    # Without its files transformers makes an empty tokenizer and says nothing. All words of
    # Whisper's vocabulary come before the id that ends a text.
    if len(asr.tokenizer) <= asr.model.config.eos_token_id:
        raise ValueError(f"the tokenizer knows {len(asr.tokenizer)} tokens only")
    samples = read_mono(audio) if audio else np.zeros(SAMPLE_RATE, dtype=np.float32)
    answer = asr(
        {"raw": samples, "sampling_rate": SAMPLE_RATE},
        generate_kwargs={"max_new_tokens": MAX_TOKENS if audio else 4},
    )
    return str(answer["text"])


def read_mono(audio: Path) -> object:
    """float32 samples at 16 kHz, shape (num_samples,); read without ffmpeg."""
    import soundfile
    import soxr

    samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE)


def main(arguments: list[str]) -> None:
    """Print one JSON line: {"text": …}."""
    folder, *audio = arguments
    text = transcribe(Path(folder), Path(audio[0]) if audio else None)
    sys.stdout.write(json.dumps({"text": text}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

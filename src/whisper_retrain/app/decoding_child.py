"""Decodes one file in a process of its own: `python -m whisper_retrain.app.decoding_child PATH`.

What people upload may be made to break a decoder, so it runs with little memory, little time, no
credentials in its environment, and nothing to lose. Writes a line of JSON (`Speech`, or why not)
and then the samples, 16-bit little-endian, to stdout.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

MOST_CPU_S = 40
MOST_BYTES = 2 * 2**30
"""Of address space: ten minutes of stereo at 48 kHz fit, eight channels at 192 kHz do not."""


def main() -> int:
    """Decode the file that is named."""
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from whisper_retrain.data.decoding import DecodingError, decode

    try:
        audio = decode(Path(sys.argv[1]).read_bytes())
    except DecodingError as error:
        reason, _, detail = str(error).partition(": ")
        return _say({"reason": reason, "detail": detail})
    except MemoryError:
        detail = f"decoded it needs more than {MOST_BYTES / 2**30:.0f} GiB"
        return _say({"reason": "too-large", "detail": detail})
    facts = {
        "audio_sha256": audio.sha256,
        "duration_s": audio.duration_s,
        "num_samples": len(audio.samples),
        "sampling_rate_hz": audio.sampling_rate_hz,
        "level_dbfs": audio.level_dbfs,
        "clipped_share": audio.clipped_share,
    }
    return _say(facts, audio.samples.astype("<i2", copy=False).tobytes())


def _say(facts: dict[str, object], samples: bytes = b"") -> int:
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + samples)
    return 0


if __name__ == "__main__":
    sys.exit(main())

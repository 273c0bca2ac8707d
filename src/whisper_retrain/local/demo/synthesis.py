"""Lets many speakers read at once: a process for each speaker, two at a time.

A process of its own keeps each synthesizer's state its own, so that the recordings come out the
same every time (see engines). Knows nothing of drops and datasets.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import IO, Any

from whisper_retrain.local.demo import recording

Progress = Callable[[int, int], None]
"""Called with the recordings made so far and their total."""

PROCESSES = 2


def synthesise(texts: Mapping[int, list[str]], progress: Progress) -> dict[tuple[int, str], bytes]:
    """FLAC recordings by (speaker id, text), for the texts of each speaker id.

    `progress` is called after every recording, from several threads but never at once.
    """
    recordings: dict[tuple[int, str], bytes] = {}
    total, lock = sum(map(len, texts.values())), Lock()

    def keep(speaker_id: int, text: str, flac: bytes) -> None:
        with lock:
            recordings[speaker_id, text] = flac
            progress(len(recordings), total)

    with ThreadPoolExecutor(PROCESSES) as pool:
        jobs = [pool.submit(_read_all, *item, keep) for item in texts.items()]
        for job in jobs:
            job.result()
    return recordings


def _read_all(speaker_id: int, texts: list[str], keep: Callable[[int, str, bytes], None]) -> None:
    command = [sys.executable, "-m", recording.__name__]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        stdin, stdout = _open(process.stdin), _open(process.stdout)
        json.dump({"speaker_id": speaker_id, "texts": texts}, stdin)
        stdin.close()
        unread = list(reversed(texts))
        for line in stdout:
            keep(speaker_id, unread.pop(), base64.b64decode(line))
    if process.returncode != 0 or unread:
        raise RuntimeError(
            f"speaker {speaker_id} left {len(unread)} of {len(texts)} texts unread and ended with"
            f" exit code {process.returncode}; its error output is above"
        )


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None, "the process was started with pipes"  # noqa: S101
    return pipe

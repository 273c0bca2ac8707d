"""This machine: Python, memory, disk, GPU. Asks no service."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import psutil

from whisper_retrain.doctor.checks import CheckResult

GIB = 2**30
# whisper-tiny trains in about 2 GiB, whisper-small in about 6 (float32, Adam, batch 16).
MEMORY_LEAST_BYTES, MEMORY_WANTED_BYTES = 1 * GIB, 3 * GIB
# A checkpoint of whisper-small is 1 GB, its training state 3 GB.
DISK_LEAST_BYTES, DISK_WANTED_BYTES = 1 * GIB, 5 * GIB
NVIDIA_SMI_LIMIT_S = 3.0


def python(name: str) -> CheckResult:
    """The one version that the pinned packages were tested with."""
    found = platform.python_version()
    if found.startswith("3.11."):
        return CheckResult(name, "ok", found)
    return CheckResult(name, "failed", found, "make the environment with Python 3.11")


def memory(name: str) -> CheckResult:
    """What is free now, not what is built in."""
    free_bytes = psutil.virtual_memory().available
    found = f"{free_bytes / GIB:.1f} GiB free"
    remedy = "close other programs, or take a smaller base model or batch"
    return _against(name, free_bytes, (MEMORY_LEAST_BYTES, MEMORY_WANTED_BYTES), found, remedy)


def disk(name: str, folder: Path) -> CheckResult:
    """Room, and the right to write, where the folder is or will be."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(os.urandom(2**16))
            probe.flush()
    except OSError as error:
        return CheckResult(
            name,
            "failed",
            f"cannot write to {folder}: {error}",
            "free space, or set another folder",
        )
    free_bytes = shutil.disk_usage(folder).free
    found = f"{free_bytes / GIB:.1f} GiB free at {folder}"
    remedy = "free space, or set WHISPER_RETRAIN_CACHE_DIR, HF_HOME or TMPDIR to a larger disk"
    return _against(name, free_bytes, (DISK_LEAST_BYTES, DISK_WANTED_BYTES), found, remedy)


def gpu(name: str) -> CheckResult:
    """Whether a GPU is seen; without one everything works, only slower."""
    found = _nvidia_names()
    if found:
        return CheckResult(name, "ok", ", ".join(found))
    return CheckResult(name, "ok", "not seen: training will use the CPU")


def compiler(name: str) -> CheckResult:
    """Whether torch.compile can work where torch is installed.

    It calls a C++ compiler and linker with torch's own folder, unquoted (seen in torch 2.13).
    """
    folder = sysconfig.get_paths()["purelib"]
    if " " in folder:
        remedy = "make the environment in a folder without a blank, or set training.compile: false"
        return CheckResult(name, "failed", f"torch lies in {folder}, which has a blank", remedy)
    if not (shutil.which("g++") or shutil.which("clang++")):
        remedy = "install g++, or set training.compile: false"
        return CheckResult(name, "failed", "no C++ compiler on the PATH", remedy)
    return CheckResult(name, "ok", "a C++ compiler is there")


def _nvidia_names() -> list[str]:
    """By the driver's tool, without importing torch."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=NVIDIA_SMI_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def _against(
    name: str, amount: int, bounds: tuple[int, int], found: str, remedy: str
) -> CheckResult:
    least, wanted = bounds
    if amount < least:
        return CheckResult(name, "failed", f"{found}, {least / GIB:.0f} GiB needed", remedy)
    if amount < wanted:
        return CheckResult(name, "warning", f"{found}, {wanted / GIB:.0f} GiB wanted", remedy)
    return CheckResult(name, "ok", found)

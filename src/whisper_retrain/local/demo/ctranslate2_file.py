"""Reads the variables out of a CTranslate2 `model.bin`, with numpy alone.

Written from the layout that CTranslate2 publishes (python/ctranslate2/specs/model_spec.py,
binary version 6), all numbers little-endian:

    u32 binary version, string spec name, u32 spec revision
    u32 count of variables, each: string name, u8 rank, u32 x rank shape, u8 type, u32 bytes, data
    u32 count of aliases, each: string alias, string name of the variable it stands for

where a string is u16 length (terminating NUL included) and its bytes. It knows nothing of Whisper.
"""

import mmap
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whisper_retrain.errors import InputError

BINARY_VERSION = 6
TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}  # 5 is bfloat16, unknown to numpy


class _Cursor:
    """Reads forward through the file's bytes."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, kind: str) -> int:
        value: int = struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))[0]
        return value

    def string(self) -> str:
        return self.take(self.number("H"))[:-1].decode()


def read_variables(path: Path, expected_spec: str) -> dict[str, npt.NDArray[np.generic]]:
    """All variables of a CTranslate2 model file by name, aliases resolved, in their stored types.

    Raises InputError when the file has another binary version or model spec.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        cursor = _Cursor(data)
        version, spec = cursor.number("I"), cursor.string()
        if (version, spec) != (BINARY_VERSION, expected_spec):
            raise InputError(
                "not the model file expected",
                where=str(path),
                expected=f"CTranslate2 {expected_spec}, binary version {BINARY_VERSION}",
                got=f"{spec!r}, binary version {version}",
                remedy="install the package versions of constraints.txt",
            )
        cursor.number("I")  # the spec's revision: the layout of the names, checked by who maps them
        variables = dict(_read_variable(cursor) for _ in range(cursor.number("I")))
        for _ in range(cursor.number("I")):
            alias, name = cursor.string(), cursor.string()
            variables[alias] = variables[name]
    return variables


def _read_variable(cursor: _Cursor) -> tuple[str, npt.NDArray[np.generic]]:
    name, rank = cursor.string(), cursor.number("B")
    shape = [cursor.number("I") for _ in range(rank)]
    dtype = np.dtype(TYPES[cursor.number("B")])
    return name, np.frombuffer(cursor.take(cursor.number("I")), dtype).reshape(shape)

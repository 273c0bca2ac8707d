"""Where a training runs: device, precision, and the other processes of the same training.

Knows nothing of what is trained. accelerate finds the device and joins the process group that
torchrun announces; gradients are summed here and not by DistributedDataParallel, since processes
may cut their share into different numbers of pieces, and one of them may run out of memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from whisper_retrain.cpu_bfloat16 import has_bfloat16

T = TypeVar("T")
Precision = Literal["auto", "float32", "bfloat16", "float16"]
BUCKET_ELEMENTS = 16 << 20  # gradients go over the wire in pieces of 64 MiB


class Device:
    """One process's device and its place among the processes."""

    def __init__(self, precision: Precision = "auto", force_cpu: bool = False) -> None:
        from accelerate import PartialState

        state = PartialState(cpu=force_cpu or not torch.cuda.is_available())
        self._state = state
        self.torch: torch.device = state.device
        self.rank: int = state.process_index
        self.ranks: int = state.num_processes
        self._rank_here: int = state.local_process_index
        self.precision = self._resolved(precision)
        # With many shapes cuDNN's attention plans each anew (modelscope/FunASR#3705), and in
        # bfloat16 it gave gradients that are no numbers on an H100 (kyutai-labs/pocket-tts#264).
        torch.backends.cuda.enable_cudnn_sdp(False)

    @property
    def is_main(self) -> bool:
        """Whether this process speaks, saves and uploads for all."""
        return self.rank == 0

    @property
    def is_first_here(self) -> bool:
        """Whether this process keeps what all processes of its machine read from its disk."""
        return self._rank_here == 0

    def _resolved(self, precision: Precision) -> torch.dtype:
        if precision != "auto":
            named: torch.dtype = getattr(torch, precision)
            return named
        if self.torch.type != "cuda":
            # Emulated, as on most CPUs, bfloat16 is slower.
            return torch.bfloat16 if has_bfloat16() else torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16

    def autocast(self) -> AbstractContextManager[Any]:
        """Matrix products in the chosen precision; weights stay float32."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.torch.type, dtype=self.precision)

    def sum(self, figures: Sequence[float]) -> list[float]:
        """Each figure summed over the processes."""
        if self.ranks == 1:
            return list(figures)
        total = torch.tensor(figures, dtype=torch.float64, device=self.torch)
        torch.distributed.all_reduce(total)
        return [float(value) for value in total]

    def barrier(self) -> None:
        """Wait until every process has come here."""
        self._state.wait_for_everyone()

    def any(self, flag: bool) -> bool:
        """Whether it holds on any process."""
        return self.sum([float(flag)])[0] > 0

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add the gradients of all processes, in place; one without utterances adds nothing."""
        if self.ranks == 1:
            return
        bucket: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            bucket.append(parameter.grad)
            if sum(gradient.numel() for gradient in bucket) >= BUCKET_ELEMENTS:
                _sum_in_place(bucket)
                bucket = []
        if bucket:
            _sum_in_place(bucket)

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes, in the order of their ranks."""
        if self.ranks == 1:
            return list(items)
        parts: list[Any] = [None] * self.ranks
        torch.distributed.all_gather_object(parts, list(items))
        return [item for part in parts for item in part]

    def from_main(self, value: T) -> T:
        """The main process's value, on every process."""
        if self.ranks == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def release_memory(self) -> None:
        """Give cached memory back to the device."""
        if self.torch.type == "cuda":
            torch.cuda.empty_cache()

    def close(self) -> None:
        """Leave the process group."""
        if self.ranks > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)


def is_lost_peer(error: BaseException) -> bool:
    """Whether an error of torch says that another process of the training went away."""
    if isinstance(error, torch.distributed.DistError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and "gloo" in text and "connect" in text


def _sum_in_place(gradients: list[Tensor]) -> None:
    flat = torch._utils._flatten_dense_tensors(gradients)
    torch.distributed.all_reduce(flat)
    parts = torch._utils._unflatten_dense_tensors(flat, gradients)
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part)

"""One optimizer step over an effective batch, whatever memory and processes it is spread over.

The loss of a step is the mean over all label ids of its effective batch. Pieces and processes only
add up gradients of sums, so cutting the batch otherwise changes rounding and nothing else.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from whisper_retrain.config import TrainingConfig
from whisper_retrain.errors import DivergedError, OutOfMemoryError
from whisper_retrain.training.batches import StepPlan, micro_batches
from whisper_retrain.training.compute import training_flop
from whisper_retrain.training.devices import Device, is_out_of_memory
from whisper_retrain.training.model import WhisperLoss
from whisper_retrain.training.schedule import Schedule
from whisper_retrain.training.speech import IGNORED, Example, Labels, Piece, collate
from whisper_retrain.whisper_constants import HOP_SAMPLES, SAMPLING_RATE_HZ

# AdamW as Whisper was trained (Radford et al. 2022, table 17).
BETAS, EPSILON = (0.9, 0.98), 1e-6
# More does not make a CPU faster; 32 utterances of 30 s fit the usual GPUs.
DEFAULT_BUDGET_S = {"cpu": 40.0, "cuda": 960.0}
LEAST_BUDGET_S = 1.0  # below it, a piece holds one utterance already
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """This process's share of a step, cut into pieces that fit `budget_s`."""

    plan: StepPlan
    """Which step it is."""
    examples: Sequence[Example]
    """This process's share."""
    pieces: tuple[Piece, ...]
    """The same, cut."""
    budget_s: float
    """Padded seconds of audio in a piece."""


@dataclass(frozen=True)
class StepResult:
    """What one step was: mean loss, audio and arithmetic done by all processes."""

    loss: float
    """Mean cross-entropy by label id, nats."""
    gradient_norm: float
    """Before clipping."""
    audio_s: float
    """Of all processes."""
    flop: float
    """Of all processes."""


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that the optimizer moves."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


class Optimization:
    """Model, optimizer and the micro-batch that memory allows."""

    def __init__(
        self,
        loss: WhisperLoss,
        labels: Labels,
        config: TrainingConfig,
        schedule: Schedule,
        device: Device,
        peak: float,
    ) -> None:
        self.loss, self.labels, self.device = loss, labels, device
        self.config, self.schedule, self.peak = config, schedule, peak
        if device.torch.type == "cpu" and not config.compile:
            loss.look_up_apart()
        self.parameters = trainable(loss)
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=peak,
            betas=BETAS,
            eps=EPSILON,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(
            device.torch.type, enabled=device.precision == torch.float16
        )
        self.budget_s = config.micro_batch_audio_s or DEFAULT_BUDGET_S[device.torch.type]

    def prepare(self, plan: StepPlan, examples: Sequence[Example]) -> Prepared:
        """Cut this process's share into pieces; done ahead, by the thread that reads speech."""
        margin_s, budget_s = self.config.context_margin_s, self.budget_s
        durations = [len(example.wave) / SAMPLING_RATE_HZ for example in examples]
        cuts = micro_batches(durations, budget_s, margin_s)
        pieces = (collate([examples[i] for i in cut], self.labels, margin_s) for cut in cuts)
        if self.device.torch.type == "cuda":
            pieces = (piece.pinned() for piece in pieces)
        return Prepared(plan, examples, tuple(pieces), budget_s)

    def step(self, prepared: Prepared) -> StepResult:
        """Do one step with this process's share of the batch; sets the learning rate itself."""
        plan = prepared.plan
        # Randomness inside the model depends on nothing but seed, step and process.
        mixed = np.random.SeedSequence([self.config.seed, plan.step, self.device.rank])
        torch.manual_seed(int(mixed.generate_state(1)[0]))
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(plan.step, self.peak)
        # The number of label ids of the whole batch, so that gradients add up to its mean.
        tokens = float(sum(len(example.label_ids) for example in prepared.examples))
        tokens = self.device.sum([tokens])[0]
        while True:
            if prepared.budget_s != self.budget_s:
                prepared = self.prepare(plan, prepared.examples)
            # Freed and taken anew every step, gradients would leave holes in the heap.
            self.optimizer.zero_grad(set_to_none=False)
            sums = self._accumulate(prepared, tokens)
            self.loss.join_lookup()  # in any case, so that nothing of it is left for another try
            if sums is not None:
                break
            self._shrink(plan)
        summed, flop, audio_s = self.device.sum(sums)
        self.device.sum_gradients(self.parameters)
        norm = self._update(plan, summed / tokens)
        return StepResult(summed / tokens, norm, audio_s, flop)

    def release(self) -> None:
        """Forget model, gradients and moments: training is over and memory is dear."""
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.state.clear()
        self.parameters = []
        self.device.release_memory()

    def _update(self, plan: StepPlan, loss: float) -> float:
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm))
        # float16 overflows now and then; the scaler leaves such a step out.
        overflow_is_normal = self.scaler.is_enabled()
        if not math.isfinite(loss) or not (math.isfinite(norm) or overflow_is_normal):
            raise DivergedError(
                "training diverged",
                where=f"step {plan.step + 1}",
                expected="finite loss and gradients",
                got=f"loss {loss}, gradient norm {norm}",
                remedy="lower the learning rate, lengthen the warm-up or clip gradients harder",
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm

    def _accumulate(self, prepared: Prepared, tokens: float) -> list[float] | None:
        """Gradients of this process's pieces; sums of loss, FLOP and audio seconds.

        None when memory ran out on any process: all must cut their pieces anew.
        """
        summed, failed = 0.0, False
        losses: list[Tensor] = []
        try:
            for piece in prepared.pieces:
                losses.append(self._backward(piece.to(self.device.torch), tokens))
            summed = float(torch.stack(losses).sum()) if losses else 0.0
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            failed = True
        if self.device.any(failed):
            return None
        audio_s = sum(example.audio_s for example in prepared.examples)
        return [summed, sum(map(self._flop, prepared.pieces)), audio_s]

    def _backward(self, piece: Piece, tokens: float) -> Tensor:
        with self.device.autocast():
            loss = self.loss(piece)
        self.scaler.scale(loss / tokens).backward()
        return loss.detach()

    def _flop(self, piece: Piece) -> float:
        rows, samples = piece.waves.shape
        tokens = int((piece.labels != IGNORED).sum()) // rows
        return training_flop(self.loss.whisper.config, rows, samples // HOP_SAMPLES, tokens)

    def _shrink(self, plan: StepPlan) -> None:
        """Halve the micro-batch; OutOfMemoryError when it is one utterance already."""
        self.device.release_memory()
        if self.budget_s < LEAST_BUDGET_S:
            raise OutOfMemoryError(
                "memory ran out with one utterance at a time",
                where=f"step {plan.step + 1} on {self.device.torch}",
                remedy="use gradient checkpointing, LoRA, a smaller model or a larger machine",
            )
        self.budget_s /= 2
        logger.warning(
            "out of memory at step %d: micro-batch now %.0f audio seconds, same effective batch",
            plan.step + 1,
            self.budget_s,
        )

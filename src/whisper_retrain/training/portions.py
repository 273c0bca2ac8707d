"""From a configuration to what each step hears: the plan of portions, and their audio.

Knows nothing of models: it joins the plan (batches) with the utterances' audio (augmentation,
packing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from whisper_retrain.config import TrainingConfig
from whisper_retrain.training.augmentation import augmented
from whisper_retrain.training.batches import BatchPlan, Packing, Portion, StepPlan, Window
from whisper_retrain.training.packing import Utterance, packed
from whisper_retrain.training.speech import (
    Example,
    Labels,
    TrainingSpeech,
    TrainingUtterance,
    Wave,
)


def batch_plan(
    chosen: Sequence[TrainingUtterance],
    config: TrainingConfig,
    new_ids: frozenset[str] = frozenset(),
) -> BatchPlan:
    """All steps over these utterances, of which some may be new to the model."""
    return BatchPlan(
        tuple(float(utterance.duration_s) for utterance in chosen),
        config.batch_size,
        config.seed,
        config.bucket_batches,
        Packing(config.packed_share, config.window_utterances, config.silent_share),
        tuple(utterance.speaker for utterance in chosen),
        tuple(utterance.id in new_ids for utterance in chosen),
    )


def portion_loader(
    chosen: Sequence[TrainingUtterance],
    labels: Labels,
    config: TrainingConfig,
    speech: TrainingSpeech,
) -> Callable[[Portion, StepPlan], Example]:
    """A function that fetches a portion's audio, varies it, and stitches a window's together."""

    def heard(index: int, plan: StepPlan) -> Wave:
        rng = np.random.default_rng([config.seed, plan.step, index])
        return augmented(speech.audio(chosen[index]), config, rng)

    def load(portion: Portion, plan: StepPlan) -> Example:
        if isinstance(portion, Window):
            spoken = [
                Utterance(chosen[index].id, heard(index, plan), chosen[index].reference)
                for index in portion.indices
            ]
            return packed(spoken, labels, np.random.default_rng(portion.seed))
        utterance = chosen[portion]
        return Example(utterance.id, heard(portion, plan), labels.ids(utterance.reference))

    return load

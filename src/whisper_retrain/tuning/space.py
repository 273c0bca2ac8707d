"""What tuning may vary, and which settings a point of that space is; pure.

Knows nothing of how points are chosen. Every dimension but the rate is a field of the training's
settings under its own name, so that nothing can be tuned that a training does not have.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Self

from pydantic import Field, ValidationError, field_validator, model_validator

from whisper_retrain.config import Config, TrainingConfig

Value = float | int | bool
Point = dict[str, Value]
"""Dimension -> value; the rate is a multiple of the default of the model's size."""

RATE = "rate"
CHOICES = (
    "batch_size",
    "spec_augment",
    "noise_augment_share",
    "weight_decay",
    "packed_share",
    "lora_rank",
)
"""The other dimensions: fields of TrainingConfig."""
PRIMES = (3, 5, 7, 11, 13, 17)
"""A base of the table for each of them."""


class SearchSpace(Config):
    """What may be varied; a dimension without values stays as the training's settings have it."""

    epochs: tuple[float, ...] = Field(
        (2.0, 4.0, 8.0),
        title="Epochs of the rungs",
        description="All trials train for the first, the better half goes on to the second, and so "
        "on; patience may end a training before. How long to train is found on the way.",
        min_length=1,
    )
    lowest_rate: float = Field(
        0.5,
        title="Lowest learning rate",
        description="Times the default of the model's size. Too low a rate learns too little in a "
        "few hundred steps. Searched on a logarithmic scale.",
        gt=0,
        le=1000,
    )
    highest_rate: float = Field(
        4.0,
        title="Highest learning rate",
        description="Times the default of the model's size. Too high a rate forgets or diverges; a "
        "trial that diverges is counted and costs no more.",
        gt=0,
        le=1000,
    )
    batch_size: tuple[int, ...] = Field(
        (16, 32, 64),
        title="Effective batches (utterances)",
        description="Small ones take more steps in an epoch, large ones take surer ones.",
    )
    spec_augment: tuple[bool, ...] = Field(
        (False, True),
        title="SpecAugment",
        description="Hides stretches of time and frequency: helps where data is scarce.",
    )
    noise_augment_share: tuple[float, ...] = Field(
        (0.0, 0.25),
        title="Utterances with added noise (shares)",
        description="Helps where recordings are noisier than those that are trained on.",
    )
    weight_decay: tuple[float, ...] = Field(
        (0.0, 0.1), title="Weight decay", description="Holds weights small; matters little here."
    )
    packed_share: tuple[float, ...] = Field(
        (),
        title="Utterances in windows of 30 s (shares)",
        description="Less is faster, and single utterances come out better; dictations need it. "
        "The validation split has single utterances only and cannot see that: it stays as it is.",
    )
    lora_rank: tuple[int, ...] = Field(
        (),
        title="LoRA ranks",
        description="0: all weights. Adapters want about ten times the rate of all weights, so "
        "tune one or the other; they need the extra lora.",
    )

    @field_validator(*CHOICES)
    @classmethod
    def _are_settings(cls, values: tuple[Value, ...], info: object) -> tuple[Value, ...]:
        name = getattr(info, "field_name", "")
        if len(set(values)) < len(values):
            raise ValueError(f"a value of {name} stands twice")
        for value in values:
            try:
                TrainingConfig(**{name: value})
            except ValidationError as error:
                raise ValueError(error.errors()[0]["msg"]) from error
        return values

    @field_validator("epochs")
    @classmethod
    def _rungs_rise(cls, epochs: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in pairwise(epochs)):
            raise ValueError("each rung trains for more epochs than the one before")
        if epochs[0] <= 0:
            raise ValueError("a rung trains for some epochs")
        return epochs

    @model_validator(mode="after")
    def _has_points(self) -> Self:
        if self.lowest_rate > self.highest_rate:
            raise ValueError(
                "the space has no point: its lowest learning rate is above its highest"
            )
        if self.lowest_rate == self.highest_rate and not any(
            len(values) > 1 for values in self.choices.values()
        ):
            raise ValueError("the space has one point: nothing in it varies")
        return self

    @property
    def choices(self) -> dict[str, tuple[Value, ...]]:
        """The dimensions that have values, the rate left out."""
        found = {name: tuple(getattr(self, name)) for name in CHOICES}
        return {name: values for name, values in found.items() if values}

    def holds(self, point: Point) -> bool:
        """Whether a point lies in this space."""
        return (
            point.keys() == {RATE, *self.choices}
            and self.lowest_rate <= point[RATE] <= self.highest_rate
            and all(point[name] in values for name, values in self.choices.items())
        )


def point_of(space: SearchSpace, training: TrainingConfig, default_rate: float) -> Point:
    """The settings as they are, as a point; it may lie outside of the space."""
    rate = (training.learning_rate or default_rate) / default_rate
    return {RATE: rate, **{name: getattr(training, name) for name in space.choices}}


def settings_of(point: Point, training: TrainingConfig, default_rate: float) -> TrainingConfig:
    """A training's settings at a point; what the space leaves alone stays as it is."""
    changes = {name: value for name, value in point.items() if name != RATE}
    rate = float(f"{point[RATE] * default_rate:.4g}")
    return TrainingConfig(**training.model_dump() | changes | {"learning_rate": rate})


def table_point(space: SearchSpace, number: int) -> Point:
    """Point 0, 1, ... of a fixed table (Halton 1960): any first few of them cover the space."""
    rate = space.lowest_rate * (space.highest_rate / space.lowest_rate) ** _halton(number, 2)
    point: Point = {RATE: float(f"{rate:.4g}")}
    for (name, values), base in zip(space.choices.items(), PRIMES, strict=False):
        point[name] = values[int(_halton(number, base) * len(values))]
    return point


def _halton(number: int, base: int) -> float:
    """The digits of number + 1 behind the point, in reverse: in base 2 1/2, 1/4, 3/4, 1/8, ..."""
    share, part, left = 0.0, 1 / base, number + 1
    while left:
        left, digit = divmod(left, base)
        share += part * digit
        part /= base
    return share

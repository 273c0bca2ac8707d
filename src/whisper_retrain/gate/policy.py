"""What must hold before a challenger becomes champion: bounds, in the words of the Run form.

Knows nothing of how figures are computed. WER and its margins are fractions: 0.01 is one point.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from whisper_retrain.config import Config

PresetName = Literal["strict", "default", "shadow"]


class GatePolicy(Config):
    """The rules of the gate, with their bounds."""

    name: str = Field("default", title="Name", description="Shown beside the decision.")
    alpha: float = Field(
        0.05,
        title="False promotions (per year)",
        description="Most probability of ever promoting a model that is no better.",
        gt=0,
        le=0.5,
    )
    planned_looks: int = Field(
        52,
        title="Looks per year",
        description="How often a year this test set may be looked at; alpha is shared out.",
        ge=1,
        le=1000,
    )
    replicates: int = Field(
        10_000, title="Bootstrap replicates", description="Resampled test sets.", ge=1000, le=10**6
    )
    seed: int = Field(1, title="Seed", description="Of the bootstrap.", ge=0)
    min_improvement: float = Field(
        0.001,
        title="Least improvement (WER)",
        description="A smaller one is not worth a release; 0.001 is a tenth of a point.",
        ge=0,
        lt=1,
    )
    medical_margin: float = Field(
        0.02,
        title="Medical margin (medical WER)",
        description="The medical WER must surely not rise by more.",
        gt=0,
        lt=1,
    )
    guard_alpha: float = Field(
        0.05,
        title="Guard error",
        description="One-sided error of each guard's interval.",
        gt=0,
        le=0.5,
    )
    min_words: int = Field(
        200,
        title="Least test set (reference words)",
        description="With fewer, nothing is decided.",
        ge=1,
    )
    min_medical_terms: int = Field(
        30,
        title="Least medical terms",
        description="With fewer in the references, the medical rule only informs.",
        ge=1,
    )
    shadow: bool = Field(
        False,
        title="Shadow",
        description="Decide and report, but never promote.",
    )


PRESETS: dict[PresetName, GatePolicy] = {
    "strict": GatePolicy(
        name="strict",
        alpha=0.01,
        min_improvement=0.005,
        medical_margin=0.005,
        guard_alpha=0.025,
        min_words=1000,
    ),
    "default": GatePolicy(),
    "shadow": GatePolicy(name="shadow", shadow=True),
}


def preset(name: PresetName) -> GatePolicy:
    """A policy by name."""
    return PRESETS[name]

"""What must hold before a challenger becomes champion: bounds, in the words of the Run form.

Knows nothing of how figures are computed. WER and its margins are fractions: 0.01 is one point.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from whisper_retrain.clinical import FindingKind, Severity
from whisper_retrain.config import Config
from whisper_retrain.errors import InputError

PresetName = Literal["strict", "default", "shadow"]


class GatePolicy(Config):
    """The rules of the gate, with their bounds."""

    added: ClassVar[frozenset[str]] = frozenset(
        {
            "severities",
            "waived",
            "long_form_margin",
            "harm_ratio",
            "min_findings",
            "max_wer",
            "runaway_share",
        }
    )

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
    max_wer: float = Field(
        0.5,
        title="Highest WER",
        description="Of a challenger; no other is promoted, however bad the champion is.",
        gt=0,
    )
    runaway_share: float = Field(
        0.01,
        title="Runaways allowed (share)",
        description="Utterances that newly do not end or repeat themselves, less those put right.",
        ge=0,
        le=1,
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
    min_speakers: int = Field(
        1, title="Least speakers", description="Of the test set, where they are known.", ge=1
    )
    general_margin: float = Field(
        0.02,
        title="General-speech margin (WER)",
        description="WER on everyday speech must surely not rise by more.",
        gt=0,
        lt=1,
    )
    slice_margin: float = Field(
        0.03,
        title="Slice margin (WER)",
        description="In no large slice may WER surely rise by more.",
        gt=0,
        lt=1,
    )
    min_slice_words: int = Field(
        100, title="Least slice (words)", description="Smaller slices are not looked at.", ge=1
    )
    min_guarded_words: int = Field(
        1000,
        title="Least guarded words",
        description="A slice, dictations or everyday speech of so many words or more must be proven"
        " no worse; a smaller one counts only when it is proven worse.",
        ge=1,
    )
    safety_share: float = Field(
        0.01,
        title="Critical errors allowed (share)",
        description="New ones less those put right, of the utterances with such words.",
        ge=0,
        le=1,
    )
    harm_ratio: float = Field(
        0.33,
        title="Harm ruled out (share)",
        description="Surely no such increase of medical errors or clinical findings, as a share of"
        " the champion's.",
        gt=0,
        le=1,
    )
    min_findings: int = Field(
        40,
        title="Least findings to rule harm out",
        description="Where the champion has fewer, a challenger is stopped by proven harm only.",
        ge=1,
    )
    min_term_occurrences: int = Field(
        3, title="Least occurrences of a term", description="Rarer ones are not watched.", ge=1
    )
    long_form_margin: float = Field(
        0.03,
        title="Long-form margin (WER)",
        description="WER on dictations of a minute or two must surely not rise by more.",
        gt=0,
        lt=1,
    )
    probe_margin: float = Field(
        0.1,
        title="Hallucination margin (share)",
        description="Of the probes on which text may newly appear.",
        ge=0,
        le=1,
    )
    max_latency_ratio: float | None = Field(
        None,
        title="Slower by at most (factor)",
        description="Of one utterance; none: not looked at, since machines differ.",
        gt=0,
    )
    own_terms: tuple[str, ...] = Field(
        (),
        title="Own medical terms",
        description='"term" or "tier: term" with tier drug, diagnosis, symptom, anatomy or'
        " procedure.",
    )
    severities: dict[FindingKind, Severity] = Field(
        {},
        title="Severity of findings",
        description="Kind of clinical finding -> treatment, meaning or notable, where it is not the"
        " usual one; a notable one is told and decides nothing.",
    )
    waived: tuple[str, ...] = Field(
        (),
        title="Waived rules",
        description="`safety`: decide without it where there is no clinical view of the language;"
        " `speakers`: decide for these recordings alone where nobody knows who speaks.",
    )
    shadow: bool = Field(
        False,
        title="Shadow",
        description="Decide and report, but never promote.",
    )

    @field_validator("own_terms")
    @classmethod
    def _terms_have_words(cls, terms: tuple[str, ...]) -> tuple[str, ...]:
        empty = [term for term in terms if not term.rpartition(":")[2].strip()]
        if empty:
            raise ValueError(f"an own term has no words: {empty[0]!r}")
        return terms


PRESETS: dict[str, GatePolicy] = {
    "strict": GatePolicy(
        name="strict",
        alpha=0.01,
        min_improvement=0.005,
        medical_margin=0.005,
        guard_alpha=0.025,
        min_words=1000,
        min_speakers=10,
        general_margin=0.005,
        slice_margin=0.02,
        long_form_margin=0.02,
        safety_share=0.0,
        probe_margin=0.0,
    ),
    "default": GatePolicy(),
    "shadow": GatePolicy(name="shadow", shadow=True),
}


def preset(name: PresetName) -> GatePolicy:
    """A policy by name."""
    return PRESETS[name]


def load_policy(path: str) -> GatePolicy:
    """A policy from a YAML file; what it leaves out keeps its default."""
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        _check_keys(yaml.compose(text, Loader=yaml.SafeLoader))
        return GatePolicy.model_validate(yaml.safe_load(text) or {})
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(
            "the policy could not be read",
            where=path,
            expected=f"{', '.join(PRESETS)}, or a YAML file with fields of GatePolicy",
            got=str(error),
        ) from error


def _check_keys(node: Any) -> None:
    """Raise ValueError for a key that comes twice: YAML itself silently takes the last."""
    seen: set[str] = set()
    for key, value in node.value if hasattr(node, "value") and node.id == "mapping" else ():
        if key.value in seen:
            raise ValueError(f"the key {key.value!r} comes twice, again{key.start_mark}")
        seen.add(key.value)
        _check_keys(value)

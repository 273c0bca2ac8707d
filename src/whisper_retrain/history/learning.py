"""What a rejection says beyond its reasons: how much was learned, and why none wins any more.

Pure: from records that are there already. It guesses, and says so; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

from whisper_retrain.history.retrainings import Retraining, evidence_of_model
from whisper_retrain.records import TrainingRun
from whisper_retrain.release.evidence import Evidence

IN_A_ROW = 3
"""So many rejections are no chance any more."""
UNDERTRAINED = 0.75
"""Of the champion's passes: with fewer, the training was too short to compare."""
LITTLE_NEW = 0.05
"""Of the train split: less new speech is hardly ever heard in a test set."""

GUARDS = {
    "hallucination": "the challengers write words where nobody speaks. Train more on whole"
    " windows of 30 s, and add recordings with silence and noise.",
    "long-form": "dictations are heard worse than before. Train more on whole windows of 30 s"
    " (training setting `packed_share`).",
    "general-speech": "the challengers forget everyday speech. Mix in a share of the base model"
    " (training setting `base_share`, 0.25 to begin with).",
    "slices": "one part of the test set gets worse each time. The decision names it: add recordings"
    " like those.",
}
"""Rule -> what it means when it stands in the way each time."""
TERMS = (
    "words that matter to a clinician get worse each time. The decision names them: add recordings"
    " with these words, and check the references that hold them."
)
TERM_RULES = ("safety", "newly-broken-terms", "medical-terms")


def advice(evidence: Evidence, finished: Sequence[Retraining]) -> list[str]:
    """Sentences for whoever reads of a rejection; `finished` are the earlier retrainings.

    The newest comes first, for the same release; the one that this is about may be among them.
    """
    if evidence.decision.outcome == "promote":
        return []
    before = evidence_of_model(finished, evidence.champion.model.model_digest)
    champion = before.run if before else None
    earlier = [one.evidence for one in takewhile(lambda one: one.promotion is None, finished)]
    others = [one for one in earlier if one.decision.digest != evidence.decision.digest]
    cause = likeliest_cause([evidence, *others], champion)
    return [line for line in (seen(evidence.run, champion), cause) if line]


def seen(run: TrainingRun, champion: TrainingRun | None) -> str | None:
    """How often each utterance was seen, now and by the champion."""
    if run.passes is None:
        return None
    text = f"Training saw each utterance {run.passes:.1f} times"
    if champion is None or champion.passes is None:
        return f"{text}."
    return f"{text}; the champion's training saw each of its own {champion.passes:.1f} times."


def likeliest_cause(rejected: Sequence[Evidence], champion: TrainingRun | None) -> str | None:
    """After three rejections in a row, the newest first: why, and what to try; else None."""
    latest = rejected[:IN_A_ROW]
    if len(latest) < IN_A_ROW:
        return None
    causes: list[Callable[[], str | None]] = [
        lambda: _seen_less(latest[0].run, champion),
        lambda: _guarded(latest),
        lambda: _little_new(latest),
        lambda: _cannot_tell(latest),
    ]
    nothing = (
        "the challengers are no better on the test set. More of the same speech may bring nothing"
        " more: look at the utterances that are still wrong, and record what is like them."
    )
    cause = next(filter(None, (find() for find in causes)), nothing)
    return f"{IN_A_ROW} challengers in a row were not promoted. The likeliest cause: {cause}"


def _seen_less(run: TrainingRun, champion: TrainingRun | None) -> str | None:
    if champion is None or run.passes is None or champion.passes is None:
        return None
    if run.passes >= UNDERTRAINED * champion.passes:
        return None
    return (
        f"the trainings are short. Raise the training setting `epochs` to {champion.passes:.0f} or"
        " more, or the bound on steps."
    )


def _guarded(rejected: Sequence[Evidence]) -> str | None:
    """The guard that failed each time; what failed as a rule of improvement is no guard."""
    always = set.intersection(*(_failed(one) for one in rejected))
    for rule, meaning in GUARDS.items():
        if rule in always:
            return meaning
    return TERMS if any(rule.startswith(TERM_RULES) for rule in always) else None


def _failed(evidence: Evidence) -> set[str]:
    return {rule.rule for rule in evidence.decision.rules if rule.outcome == "fail"}


def _little_new(rejected: Sequence[Evidence]) -> str | None:
    newest, oldest = rejected[0].dataset, rejected[-1].dataset
    new = newest.utterances_ever - oldest.utterances_ever + oldest.new_utterances
    train = newest.splits["train"].utterances
    if new >= LITTLE_NEW * train:
        return None
    return (
        f"too little is new: {new} utterances since the first of them, {train} are trained on."
        " Collect more before the next (dataset setting `min_new_utterances`)."
    )


def _cannot_tell(rejected: Sequence[Evidence]) -> str | None:
    if not all(_seems_better(one) for one in rejected):
        return None
    words = rejected[0].challenger.words.reference_length
    return (
        f"the test set is too small to tell: each challenger made fewer errors on its {words}"
        " words, and chance could have done that. Add speakers and utterances to the test set."
    )


def _seems_better(evidence: Evidence) -> bool:
    return evidence.challenger.words.error_rate < evidence.champion.words.error_rate

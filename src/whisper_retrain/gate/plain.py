"""The decision in plain words: what decided, and what would change it; pure.

For a reader who knows neither statistics nor this project. The rules' own reasons hold the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from whisper_retrain.records import Outcome, RuleOutcome

WANTED = 0.01
"""An improvement worth finding: one point of WER."""
MOST_SPEAKERS = 1000
"""More than so many are not asked for: the sentence would help nobody."""
SHOWN = 4

STOPPED = {
    "test-set-size": "The test set is too small: {reason}.",
    "speakers": "Too little is known of who speaks: {reason}.",
    "least-improvement": "It is hardly better, if at all: not worth a release.",
    "highest-wer": "It gets too many words wrong to be of use: {reason}.",
    "medical-terms": "It may get more medical terms wrong than the champion does.",
    "newly-broken-terms": "It no longer knows words that the champion knows: {reason}.",
    "hallucination": "It makes up text where nothing is said, where the champion does not.",
    "hallucination-loops": "It repeats itself where nothing is said.",
    "runaways": "Some of its transcripts do not end, or repeat themselves.",
    "general-speech": "It may understand everyday speech less well than the champion does.",
    "slices": "For a part of the recordings it may be worse: {reason}.",
    "worst-speakers": "It may be worse for those who are understood worst.",
    "latency": "It is too slow, or nobody measured how slow it is.",
    "shadow": "The policy only watches: it never promotes.",
    "safety": "Nothing is seen of doses, sides and negations in this language.",
    "validation": "On the validation data it is no better, so the test set was not asked.",
}
SAFETY = "It may get more of this wrong that a clinician would act upon: {kind}."
REMEDIES = {
    "test-set-size": "More recordings in the test set would help.",
    "speakers": "Name the speakers in a column, or waive the rule `speakers` in the policy.",
    "least-improvement": "More or other training data, or a longer training, would help.",
    "highest-wer": "More training data would help, or a larger base model.",
    "general-speech": "Less training, or everyday speech among the training data, would help.",
    "shadow": "Choose another policy to promote.",
    "latency": "Evaluate both models again, or choose a smaller base model.",
    "safety": "Waive it by name in the policy (`waived: [safety]`), if people look at this.",
    "validation": "More or other training data would help.",
}
LISTEN = "Listen to the utterances that the report names first: they are the clearest."


def plain_words(outcomes: Sequence[RuleOutcome], verdict: Outcome) -> tuple[str, ...]:
    """A few sentences: the verdict, what stood in the way, what would change it."""
    if verdict == "promote":
        better = _named(outcomes, "improvement")
        gain = f" by {-100 * better.figure:.1f} points" if better and better.figure else ""
        return (
            f"The challenger makes fewer errors than the champion{gain}, more than chance explains,"
            " and nothing that is watched became worse.",
        )
    wanted = "fail" if verdict == "reject" else "inconclusive"
    stopping = [one for one in outcomes if one.outcome == wanted]
    said = list(dict.fromkeys(_stopped(one, outcomes) for one in stopping))
    helps = list(dict.fromkeys(_remedy(one, outcomes) for one in stopping))
    return (*said[:SHOWN], *[one for one in helps if one][:SHOWN])


def _named(outcomes: Sequence[RuleOutcome], name: str) -> RuleOutcome | None:
    return next((one for one in outcomes if one.rule == name), None)


def _stopped(rule: RuleOutcome, outcomes: Sequence[RuleOutcome]) -> str:
    if rule.rule == "improvement":
        if rule.outcome == "fail":
            return "The challenger makes as many errors as the champion, or more."
        if rule.interval is None:
            return "The test set is used up for this year: it was looked at too often."
        found = _named(outcomes, "detectable")
        shows = f", and only {100 * found.figure:.1f} or more" if found and found.figure else ""
        return (
            f"The challenger may be better, and this test set is too small to tell: it made"
            f" {-100 * (rule.figure or 0):.1f} points fewer errors{shows} would surely show."
        )
    if rule.rule.startswith("safety-"):
        kind = rule.rule.removeprefix("safety-")
        return SAFETY.format(kind="all kinds together" if kind == "all" else kind)
    return STOPPED.get(rule.rule, "{reason}.").format(reason=rule.reason)


def _remedy(rule: RuleOutcome, outcomes: Sequence[RuleOutcome]) -> str:
    if rule.rule != "improvement":
        return REMEDIES.get(rule.rule, LISTEN)
    if rule.outcome == "fail":
        return REMEDIES["least-improvement"]
    if rule.interval is None:
        return "Recordings of new speakers in the test set would help."
    found, speakers = _named(outcomes, "detectable"), _named(outcomes, "speakers")
    if not found or not found.figure or not speakers or not speakers.figure:
        return "A larger test set would help."
    # What can be found shrinks with the root of the number of speakers.
    needed = ceil(speakers.figure * (found.figure / WANTED) ** 2)
    if not speakers.figure < needed <= MOST_SPEAKERS:
        return "A larger test set would help."
    return (
        f"There are {speakers.figure:.0f} speakers in the test set; with about {needed}, as much"
        " of each, an improvement of 1 point would show."
    )

"""The same question asked of texts: do simulated counts stand for what the gate sees of words?

Words of the demo's lay sentences go wrong at the rates of `gate_counts`: some for both models in
the same way, others for one alone. A wrong word is another word of the corpus that looks like it,
one that is none, nothing, or one more. Everything is scored and decided by the real code.
"""

from __future__ import annotations

import random
from difflib import get_close_matches
from functools import cache

import numpy as np

from benchmarks.gate_counts import SHARED, Plan, TestSet, sentences
from tests.fixtures.evaluation import make_evaluation
from whisper_retrain.clinical import Names, at_risk
from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.decision import decide
from whisper_retrain.gate.policy import GatePolicy

POLICY = GatePolicy(replicates=1000)
KINDS_OF_ERRORS = (0.4, 0.65, 0.85)
"""Up to here a word like it, up to here no word, up to here nothing; then one more word."""


@cache
def alike() -> dict[str, tuple[str, ...]]:
    """Word -> words of the corpus that look like it."""
    words = sorted({word for one in sentences() for word in one.text.lower().strip(".").split()})
    found = {word: get_close_matches(word, words, 6, 0.5)[1:] for word in words}
    return {word: tuple(near) or (words[0],) for word, near in found.items()}


@cache
def critical(word: str) -> bool:
    """Whether a clinician would act upon this word."""
    return bool(at_risk(word, Names(default_lexicon().tiers)))


def spoiled(word: str, rng: random.Random) -> str:
    """What is written in its place."""
    bare, luck = word.lower().strip(".,"), rng.random()
    if luck < KINDS_OF_ERRORS[0]:
        return rng.choice(alike().get(bare, ("the",)))
    if luck < KINDS_OF_ERRORS[1]:
        return f"{bare[::-1]}x"
    return "" if luck < KINDS_OF_ERRORS[2] else f"{word} {rng.choice(sorted(alike()))}"


def heard(world: TestSet, name: str, lower: float, harm: float | None, seed: int) -> Evaluation:
    """What a model writes whose WER is `lower` less; `seed` is its own luck."""
    plan, own, rng = world.plan, random.Random(seed), world.rng
    speaker = np.exp(rng.normal(0, plan.suits[0], plan.speakers))[world.speaker]
    phrase = np.exp(rng.normal(0, plan.suits[1], plan.phrases))[world.phrase]
    gain = 1 - lower / ((1 - SHARED) * plan.wer)
    texts = []
    for place, number in enumerate(world.phrase.tolist()):
        said, both = world.said[number].text, random.Random(place)
        rate, suits = float(world.rate[place]), float(speaker[place] * phrase[place])
        written = []
        for word in said.split():
            more = gain if harm is None or not critical(word) else (harm - SHARED) / (1 - SHARED)
            shared, luck, seed_of_word = both.random(), own.random(), both.random()
            if shared < SHARED * rate:
                written.append(spoiled(word, random.Random(seed_of_word)))
            else:
                wrong = luck < (1 - SHARED) * rate * suits * more
                written.append(spoiled(word, own) if wrong else word)
        texts.append((said, " ".join(filter(None, written))))
    return make_evaluation(
        name,
        texts,
        speakers=[f"s{number}" for number in world.speaker],
        phrases=[str(number) for number in world.phrase],
    )


def judged_texts(plan: Plan, rng: np.random.Generator) -> dict[str, bool]:
    """Whether a challenger is promoted at the first look, by all rules on texts."""
    world = TestSet(plan, rng)
    luck = int(rng.integers(2**31))
    champion = heard(world, "champion", 0.0, None, luck)
    challenger = heard(world, "challenger", plan.lower, plan.harm, luck + 1)
    decision = decide(champion, challenger, POLICY)
    stopped = {one.rule for one in decision.rules if one.outcome in ("fail", "inconclusive")}
    return {"look1": not stopped, "guards": not stopped - {"improvement", "least-improvement"}}

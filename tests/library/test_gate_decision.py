"""What the gate says, rule by rule; evaluations are made of texts, no model is run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.fixtures.evaluation import make_evaluation
from whisper_retrain.errors import InputError, IntegrityError
from whisper_retrain.evaluation.rows import Evaluation, rows_digest
from whisper_retrain.gate.decision import decide
from whisper_retrain.gate.policy import GatePolicy, preset
from whisper_retrain.records import Decision

SPEECH = "the patient has a severe headache and takes metformin for diabetes every morning"
WORDS = [*SPEECH.split(), "with", "nausea", "fever", "cough"]
SPEAKERS = ("ann", "ben", "cem", "dua", "eve")


def heard(
    name: str,
    error_rates: dict[str, float],
    seed: int,
    sentences: int = 40,
    **kwargs: str,
) -> Evaluation:
    """Each speaker says the same sentences; each word is missed at the speaker's rate."""
    rng, sentence_rng = random.Random(seed), random.Random(0)
    said = [" ".join(sentence_rng.choices(WORDS, k=9)) for _ in range(sentences)]
    texts, speakers, phrases = [], [], []
    for sentence in said:
        for speaker, rate in error_rates.items():
            words = [w if rng.random() > rate else f"x{w}" for w in sentence.split()]
            texts.append((sentence, " ".join(words)))
            speakers.append(speaker)
            phrases.append(sentence)
    return make_evaluation(name, texts, speakers=speakers, phrases=phrases, **kwargs)


def rates(rate: float, speakers: Sequence[str] = SPEAKERS) -> dict[str, float]:
    return dict.fromkeys(speakers, rate)


def rule(decision: Decision, name: str) -> str:
    return next(found.outcome for found in decision.rules if found.rule == name)


@pytest.mark.parametrize("speakers", [SPEAKERS, SPEAKERS[:3], SPEAKERS[:1]])
def test_a_large_improvement_is_promoted_however_few_the_speakers(speakers: Sequence[str]) -> None:
    base = dict(zip(speakers, (0.4, 0.7, 0.6, 0.5, 0.8), strict=False))
    decision = decide(
        heard("base", base, 1),
        heard("challenger", rates(0.1, speakers), 2),
        preset("default"),
        first_champion=True,
    )
    assert decision.outcome == "promote", decision.reasons
    assert decision.first_champion
    assert {found.outcome for found in decision.rules} <= {"pass", "info"}


def test_a_tie_is_no_improvement() -> None:
    champion = heard("champion", rates(0.1), 1)
    decision = decide(champion, champion, preset("default"))
    assert decision.outcome == "reject"
    assert rule(decision, "improvement") == "fail"


def test_a_worse_challenger_is_rejected() -> None:
    decision = decide(
        heard("champion", rates(0.1), 1), heard("challenger", rates(0.2), 2), preset("default")
    )
    assert decision.outcome == "reject"


def test_a_gain_that_chance_explains_is_inconclusive() -> None:
    champion = heard("champion", rates(0.105), 3)
    challenger = heard("challenger", rates(0.095), 4)
    assert challenger.report.words.error_rate < champion.report.words.error_rate
    decision = decide(champion, challenger, preset("default"))
    assert decision.outcome == "inconclusive"
    assert rule(decision, "improvement") == "inconclusive"


def test_a_used_up_test_set_is_announced() -> None:
    champion = heard("base", rates(0.6), 1)
    challenger = heard("challenger", rates(0.1), 2)
    decision = decide(champion, challenger, preset("default"), looks=52)
    assert decision.outcome == "inconclusive"
    assert "used up" in decision.reasons[0]


def test_too_small_a_test_set_decides_nothing() -> None:
    champion = heard("base", rates(0.6), 1, sentences=3)
    challenger = heard("challenger", rates(0.1), 2, sentences=3)
    decision = decide(champion, challenger, preset("default"))
    assert decision.outcome != "promote"
    assert rule(decision, "test-set-size") == "inconclusive"


def test_shadow_mode_never_promotes() -> None:
    champion = heard("base", rates(0.6), 1)
    challenger = heard("challenger", rates(0.1), 2)
    decision = decide(champion, challenger, preset("shadow"))
    assert decision.outcome == "inconclusive"
    assert rule(decision, "improvement") == "pass"


def test_the_same_input_gives_the_same_decision() -> None:
    champion, challenger = heard("a", rates(0.2), 1), heard("b", rates(0.15), 2)
    policy = GatePolicy()
    assert decide(champion, challenger, policy) == decide(champion, challenger, policy)
    assert decide(champion, challenger, policy).policy_digest == policy.digest


@pytest.mark.parametrize(
    "name", ["test_set_digest", "normalizer_version", "lexicon_version", "decoding_digest"]
)
def test_reports_made_under_other_conditions_are_refused(name: str) -> None:
    champion, challenger = heard("a", rates(0.2), 1), heard("b", rates(0.1), 2)
    other = Evaluation(challenger.report.model_copy(update={name: "other"}), challenger.rows)
    with pytest.raises(InputError, match=name):
        decide(champion, other, preset("default"))


@pytest.mark.parametrize("name", ["probes", "columns of the test set", "transformers", "aligner"])
def test_reports_of_other_probes_speakers_or_libraries_are_refused(name: str) -> None:
    champion, challenger = heard("a", rates(0.2), 1), heard("b", rates(0.1), 2)
    conditions = challenger.report.conditions | {name: "other"}
    report = challenger.report.model_copy(update={"conditions": conditions})
    with pytest.raises(InputError, match=f"not comparable; at {name}; .* got other"):
        decide(champion, Evaluation(report, challenger.rows), preset("default"))


def test_edited_rows_are_refused() -> None:
    champion, challenger = heard("a", rates(0.2), 1), heard("b", rates(0.1), 2)
    edited = (replace(challenger.rows[0], hypothesis="something else"), *challenger.rows[1:])
    with pytest.raises(IntegrityError, match="not those that the report was made from"):
        decide(champion, Evaluation(challenger.report, edited), preset("default"))


def test_other_utterances_under_the_same_digest_are_refused() -> None:
    champion, challenger = heard("a", rates(0.2), 1), heard("b", rates(0.1), 2)
    rows = (replace(challenger.rows[0], id="another"), *challenger.rows[1:])
    report = challenger.report.model_copy(update={"rows_digest": rows_digest(rows)})
    with pytest.raises(IntegrityError, match="same utterances"):
        decide(champion, Evaluation(report, rows), preset("default"))

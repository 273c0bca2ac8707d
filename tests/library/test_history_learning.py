"""What a rejection says beyond its reasons, and what three of them in a row mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fixtures.evidence import NOTHING, some_evidence
from whisper_retrain.history.learning import advice, likeliest_cause
from whisper_retrain.history.retrainings import Retraining, RetrainingRequest
from whisper_retrain.records import Checkpoint, Promotion, RuleOutcome
from whisper_retrain.release.evidence import Evidence

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHAMPION = "0ca4" * 16  # the digest of its files, as in `some_evidence`
REQUEST = RetrainingRequest(
    dataset_digest="d",
    base_repo="b",
    base_revision="r",
    training_digest="t",
    decoding_digest="d",
    policy_digest="p",
    release_repo="demo/whisper-medical",
)


def rejected(passes: float | None = 6.0, rule: str = "", number: int = 0, **data: Any) -> Evidence:
    """A challenger that did not replace the champion; `rule` failed."""
    failed = RuleOutcome(rule=rule, outcome="fail", figure=None, bound=None, reason="so it is")
    changes = {"rules": (failed,)} if rule else {}
    found = some_evidence(outcome="reject", champion_revision="ab" * 20, looks=number, **changes)
    dataset = found.dataset.model_copy(update=data)
    run = found.run.model_copy(update={"passes": passes})
    return found.model_copy(update={"dataset": dataset, "run": run})


def promoted(passes: float | None) -> Evidence:
    """The retraining that made the champion."""
    found = some_evidence(Checkpoint(files={}, model_digest=CHAMPION))
    return found.model_copy(update={"run": found.run.model_copy(update={"passes": passes})})


def finished(*evidence: Evidence) -> list[Retraining]:
    """Retrainings with these decisions, the newest first."""
    return [
        Retraining(
            request=REQUEST,
            evidence=one,
            promotion=_promotion(one) if one.decision.outcome == "promote" else None,
            report=NOTHING,
            at=NOON - timedelta(days=age),
        )
        for age, one in enumerate(evidence)
    ]


def _promotion(evidence: Evidence) -> Promotion:
    return Promotion(
        kind="promotion",
        repo="demo/whisper-medical",
        revision="ab" * 20,
        parent_revision=None,
        tags=("champion",),
        decision_digest=evidence.decision.digest,
        model_digest=evidence.run.checkpoint.model_digest,
        at=NOON,
    )


def test_a_rejection_says_how_often_speech_was_seen_now_and_by_the_champion() -> None:
    (line,) = advice(rejected(1.7), finished(promoted(2.2)))
    assert line == (
        "Training saw each utterance 1.7 times; "
        "the champion's training saw each of its own 2.2 times."
    )


def test_what_an_earlier_version_did_not_record_is_not_made_up() -> None:
    assert advice(rejected(None), finished(promoted(2.2))) == []
    assert advice(rejected(1.7), finished(promoted(None))) == [
        "Training saw each utterance 1.7 times."
    ]
    assert advice(promoted(2.0), []) == []


def test_a_cause_is_named_after_three_rejections_in_a_row_and_not_before() -> None:
    now, before, first = (rejected(number=number) for number in (3, 2, 1))
    assert len(advice(now, finished(before, promoted(6.0), first))) == 1
    assert "3 challengers in a row" in advice(now, finished(before, first, promoted(6.0)))[-1]
    # The rejection that this is about may have been closed already.
    assert len(advice(now, finished(now, before, promoted(6.0)))) == 1


@pytest.mark.parametrize(
    ("latest", "cause"),
    [
        ({"passes": 2.0}, "the trainings are short. Raise the training setting `epochs` to 6"),
        ({"rule": "hallucination"}, "words where nobody speaks"),
        ({"rule": "general-speech"}, "forget everyday speech"),
        ({"rule": "safety-negation"}, "words that matter to a clinician"),
        ({"new_utterances": 12, "utterances_ever": 1280}, "too little is new: 12 utterances"),
        ({}, "the test set is too small to tell"),
    ],
)
def test_the_likeliest_cause(latest: dict[str, Any], cause: str) -> None:
    latest = {"utterances_ever": 1280, **latest}
    found = likeliest_cause([rejected(**latest)] * 3, promoted(6.0).run)
    assert found is not None
    assert cause in found


def test_without_any_sign_the_speech_itself_is_what_to_look_at() -> None:
    one = rejected(utterances_ever=1280)
    worse = one.model_copy(update={"challenger": one.champion})
    assert "no better on the test set" in str(likeliest_cause([worse] * 3, promoted(6.0).run))

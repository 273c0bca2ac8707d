"""The outbox keeps each notification once, until it is delivered; texts hold no transcript."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.fixtures.evidence import some_evidence, some_scores
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import InputError
from whisper_retrain.records import Promotion
from whisper_retrain.release.notifications import (
    NON_CLINICAL,
    Notification,
    challenger_rejected,
    model_promoted,
    model_rolled_back,
)
from whisper_retrain.release.outbox import enqueue, mark_delivered, pending

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 22, 13, tzinfo=UTC)
KEY = "ab" * 32
LINKS = {"model": "http://hub/demo/whisper-medical", "report": "s3://bucket/report.html"}


def a_promotion() -> Promotion:
    return Promotion(
        kind="promotion",
        repo="demo/whisper-medical",
        revision="ab" * 20,
        parent_revision=None,
        tags=("v2026-11-22-abababa", "champion"),
        decision_digest="dd" * 32,
        model_digest="cc" * 32,
        at=NOON,
        previous_revision="cd" * 20,
    )


def a_rollback(request: str, at: datetime = NOON) -> Notification:
    promotion = a_promotion().model_copy(update={"at": at})
    return model_rolled_back(promotion, request, "mishears doses", {})


def test_a_notification_is_pending_until_it_is_marked_delivered(s3_store: S3Store) -> None:
    assert pending(s3_store) == []
    one = a_rollback("flow-run-1")
    enqueue(s3_store, one)
    assert pending(s3_store) == [one]
    mark_delivered(s3_store, one.id)
    mark_delivered(s3_store, one.id)
    assert pending(s3_store) == []


def test_announcing_the_same_again_changes_nothing_delivered_or_not(s3_store: S3Store) -> None:
    first, again = a_rollback("flow-run-1"), a_rollback("flow-run-1", LATER)
    assert first.id == again.id
    assert enqueue(s3_store, first)
    assert not enqueue(s3_store, again)
    assert pending(s3_store) == [first]
    mark_delivered(s3_store, first.id)
    enqueue(s3_store, again)
    assert pending(s3_store) == []


def test_pending_notifications_come_oldest_first(s3_store: S3Store) -> None:
    late, early = a_rollback("a-flow-run", LATER), a_rollback("b-flow-run", NOON)
    enqueue(s3_store, late)
    enqueue(s3_store, early)
    assert pending(s3_store) == [early, late]


def test_an_id_that_was_never_enqueued_cannot_be_marked(s3_store: S3Store) -> None:
    with pytest.raises(InputError, match="no such notification"):
        mark_delivered(s3_store, "model.promoted-nothing")


def test_a_promotion_names_model_revision_old_and_new_wer_with_interval_and_link() -> None:
    scores = some_scores(some_evidence())
    told = model_promoted(a_promotion(), KEY, scores["challenger"], scores["baseline"], LINKS)
    assert told.subject == (
        "Promoted: demo/whisper-medical abababab, WER 5.0 % (3.0 to 7.0 %), "
        "was 30.0 % (28.0 to 32.0 %)"
    )
    assert f"revision {'ab' * 20}" in told.body
    assert "the base model had 30.0 % (28.0 to 32.0 %)" in told.body
    assert "Model: http://hub/demo/whisper-medical" in told.body
    assert told.body.endswith(NON_CLINICAL)
    assert told.payload["wer"] == pytest.approx(0.05)
    assert told.payload["wer_high"] == pytest.approx(0.07)


def test_a_rejection_gives_the_reasons_and_tells_inconclusive_from_worse() -> None:
    evidence = some_evidence(outcome="inconclusive")
    scores = some_scores(evidence)
    told = challenger_rejected(
        evidence.decision,
        "demo/m",
        "ab" * 32,
        scores["challenger"],
        scores["baseline"],
        NOON,
        LINKS,
    )
    assert "inconclusive" in told.subject
    assert "- normalised WER fell by 20.0 points" in told.body
    worse = some_evidence(outcome="reject").decision
    told = challenger_rejected(
        worse, "demo/m", KEY, scores["challenger"], scores["baseline"], NOON, LINKS
    )
    assert told.subject.startswith("Challenger rejected")


def test_a_rollback_names_both_revisions_and_why() -> None:
    told = model_rolled_back(a_promotion(), "request-1", "mishears doses", LINKS)
    assert "again revision " + "ab" * 20 in told.body
    assert "replaces revision " + "cd" * 20 in told.body
    assert "Reason: mishears doses" in told.body

"""What people are told: pure text from records. Never a transcript, never a secret.

Knows nothing of how a notification travels; the outbox keeps it, the tasks layer delivers it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field

from whisper_retrain.records import Decision, ModelScores, Promotion, Record
from whisper_retrain.release.scores import score_text, short

Event = Literal["model.promoted", "model.rolled-back", "challenger.rejected"]
"""A failed retraining is told by an automation on Prefect's own events: they come from a crash too,
and when S3, where the outbox lies, is what failed."""

NON_CLINICAL = "Not for clinical use: every transcript must be checked by a qualified person."


class Notification(Record):
    """A message for people; its id is the same however often the same thing is announced."""

    id: str = Field(pattern=r"^[a-z0-9.\-]{8,120}$")
    """By which a receiver tells a repeat."""
    event: Event
    """What happened."""
    at: datetime
    """When, UTC."""
    subject: str
    """One line."""
    body: str
    """Text for people."""
    payload: dict[str, str | float | bool | None]
    """The same for programs; rates are fractions."""


def notification_id(event: Event, key: str) -> str:
    """One id for each event and cause (a digest); also what a receiver tells repeats by."""
    return f"{event}-{key[:24]}"


def model_promoted(
    promotion: Promotion,
    key: str,
    challenger: ModelScores,
    champion: ModelScores,
    links: Mapping[str, str],
) -> Notification:
    """The champion changed for the better; `key` is the promotion's.

    `champion` has the figures of the one before, or of the base model before the first.
    """
    wer, compared = challenger.scores["words"], champion.scores["words"]
    name = "the base model" if champion.role == "baseline" else "the previous champion"
    lines = [
        f"{promotion.repo} has a new champion: revision {promotion.revision}.",
        f"Normalised WER {score_text(wer)}; {name} had {score_text(compared)}.",
        f"Medical WER {score_text(challenger.scores['medical'])}; "
        f"{name} had {score_text(champion.scores['medical'])}.",
        f"Tags: {', '.join(promotion.tags)}.",
    ]
    return Notification(
        id=notification_id("model.promoted", key),
        event="model.promoted",
        at=promotion.at,
        subject=f"Promoted: {promotion.repo} {short(promotion.revision)}, "
        f"WER {score_text(wer)}, was {score_text(compared)}",
        body=_body(lines, links),
        payload={
            "repo": promotion.repo,
            "revision": promotion.revision,
            "previous_revision": promotion.previous_revision,
            "wer": wer.figure,
            "wer_low": wer.interval.low if wer.interval else None,
            "wer_high": wer.interval.high if wer.interval else None,
            "previous_wer": compared.figure,
            "decision_digest": promotion.decision_digest,
            **links,
        },
    )


def model_rolled_back(
    promotion: Promotion, request: str, reason: str, links: Mapping[str, str]
) -> Notification:
    """The champion tag went back to an earlier revision."""
    lines = [
        f"The champion of {promotion.repo} is again revision {promotion.revision}.",
        f"It replaces revision {promotion.previous_revision}.",
        *([f"Reason: {reason}"] if reason else []),
    ]
    return Notification(
        id=notification_id("model.rolled-back", request),
        event="model.rolled-back",
        at=promotion.at,
        subject=f"Rolled back: {promotion.repo} to {short(promotion.revision)}",
        body=_body(lines, links),
        payload={
            "repo": promotion.repo,
            "revision": promotion.revision,
            "previous_revision": promotion.previous_revision,
            "reason": reason,
            **links,
        },
    )


def challenger_rejected(
    decision: Decision,
    repo: str,
    key: str,
    challenger: ModelScores,
    champion: ModelScores,
    at: datetime,
    links: Mapping[str, str],
    advice: Sequence[str] = (),
) -> Notification:
    """The champion stays; a rejection and an inconclusive comparison read differently.

    `key` is that of the decision in this repo and under this tag; `advice` are sentences beyond
    the decision's reasons.
    """
    verdict = "rejected" if decision.outcome == "reject" else "not promoted: inconclusive"
    wer, compared = challenger.scores["words"], champion.scores["words"]
    lines = [
        f"The challenger for {repo} was {verdict}. The champion stays.",
        f"Normalised WER {score_text(wer)}; compared with {score_text(compared)}.",
        "Reasons:",
        *(f"- {reason}" for reason in decision.reasons),
        *advice,
    ]
    return Notification(
        id=notification_id("challenger.rejected", key),
        event="challenger.rejected",
        at=at,
        subject=f"Challenger {verdict}: {repo}, WER {score_text(wer)}, "
        f"compared with {score_text(compared)}",
        body=_body(lines, links),
        payload={
            "repo": repo,
            "outcome": decision.outcome,
            "wer": wer.figure,
            "previous_wer": compared.figure,
            "decision_digest": decision.digest,
            **links,
        },
    )


def _body(lines: list[str], links: Mapping[str, str]) -> str:
    linked = [f"{name.replace('_', ' ').capitalize()}: {url}" for name, url in links.items()]
    return "\n".join([*lines, *linked, NON_CLINICAL])

"""Promotion: one Hub commit, verified as its users will load it, then tags, notification, record.

Acts on a decision, never takes one. Killed at any moment and run again it reaches the same end:
one commit (found again by the decision digest in its message), one record, one notification.
Knows nothing of torch or transformers: the verification runs them in a child process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from whisper_retrain.config import ReleaseConfig
from whisper_retrain.edges.store import sha256_of
from whisper_retrain.errors import ConflictError, InputError, IntegrityError, PermanentError
from whisper_retrain.model_files import download_checkpoint
from whisper_retrain.records import Checkpoint, Promotion
from whisper_retrain.release.card import model_card
from whisper_retrain.release.evidence import Evidence, ReleaseJob, lineage_bytes
from whisper_retrain.release.notifications import model_promoted
from whisper_retrain.release.scores import percent_text, short
from whisper_retrain.release.transaction import (
    Edges,
    Intent,
    carry_out,
    current_champion,
    promoted,
    recover,
)
from whisper_retrain.release.verify import Verification

CARD, LINEAGE = "README.md", "lineage.json"
TRAILER = "Decision: "

Verify = Callable[[str, str | None], Verification]
"""Tries a model as its users would, from a folder or a repo at a revision:
`partial(verify_in_child, trial)`."""


@dataclass(frozen=True)
class _Published:
    """The commit on the Hub that holds the challenger."""

    revision: str
    """40 hex digits."""
    parent: str | None
    """The revision before it; None for a repo's first commit."""


def promote(
    evidence: Evidence,
    verify: Verify,
    config: ReleaseConfig,
    edges: Edges,
    report_uri: str | None = None,
) -> Promotion:
    """Publish a challenger that the gate promoted, and make it the champion.

    `verify` is asked of the checkpoint before the push, for the card, and of what was published.
    Raises ConflictError when champion or head changed meanwhile, PermanentError when users would
    not get what the gate judged; in neither case a tag has moved.
    """
    key = ReleaseJob(evidence=evidence, release=config).digest
    refuse_unless_promoted(evidence)
    recover(config, edges)
    if done := promoted(edges.store, config, evidence.decision.digest):
        return done
    previous = _champion_as_judged(evidence, config, edges)
    with TemporaryDirectory(prefix="promotion-") as name:
        folder = Path(name)
        checkpoint = folder / "checkpoint"
        download_checkpoint(edges.store, evidence.run.checkpoint, checkpoint)
        expected = verify(str(checkpoint), None)
        card = model_card(evidence, config, report_uri, expected)
        published = _publish(evidence, checkpoint, config, edges, card)
        revision = published.revision
        fetched = edges.hub.download(config.repo, revision, folder / "published")
        where = f"{config.repo}@{revision}"
        _check_files(evidence.run.checkpoint, fetched, where)
        _check_texts(verify(config.repo, revision), expected, where)
    promotion = _promotion(evidence, config, edges, published, previous)
    links = {"model": edges.hub.url(config.repo, revision)}
    links |= {"report": report_uri} if report_uri else {}
    sides = evidence.scores_of("challenger"), evidence.scores_of(evidence.against)
    notification = model_promoted(promotion, key, *sides, links)
    return carry_out(Intent(key=key, promotion=promotion, notification=notification), edges)


def refuse_unless_promoted(evidence: Evidence) -> None:
    """Raise InputError for any decision but `promote`."""
    outcome = evidence.decision.outcome
    if outcome != "promote":
        raise InputError(
            "only a decision `promote` is carried out",
            where=f"decision {short(evidence.decision.digest)}",
            expected="promote",
            got=f"{outcome}: {'; '.join(evidence.decision.reasons)}",
            remedy="read the report; to go back to an earlier champion use the rollback",
        )


def _champion_as_judged(evidence: Evidence, config: ReleaseConfig, edges: Edges) -> str | None:
    """The champion's revision, provided that it is the one the decision compared with."""
    first = evidence.decision.first_champion
    judged = None if first else evidence.champion.model.revision
    now = current_champion(config, edges.hub)
    if now != judged:
        raise ConflictError(
            "the champion is not the model that the decision compared with",
            where=f"{config.repo}, tag {config.champion_tag}",
            expected=judged or "no champion yet",
            got=now or "no champion",
            remedy="run the gate again: it compares with the champion as it is now",
        )
    return now


def _publish(
    evidence: Evidence,
    checkpoint: Path,
    config: ReleaseConfig,
    edges: Edges,
    card: str,
) -> _Published:
    """The commit that holds the challenger: found, or made now."""
    hub, repo = edges.hub, config.repo
    hub.create_repo(repo, private=config.private)
    trailer = f"{TRAILER}{evidence.decision.digest}"
    head = hub.head(repo)
    history = hub.history(repo) if head else []
    for commit, parent in zip(history, [*history[1:], None], strict=True):
        if trailer in commit.message.splitlines():
            return _Published(commit.revision, parent.revision if parent else None)
    files: dict[str, Path | bytes] = {
        name: checkpoint / name for name in evidence.run.checkpoint.files
    }
    files[CARD] = card.encode()
    files[LINEAGE] = lineage_bytes(evidence)
    return _Published(hub.commit(repo, files, _message(evidence), head), head)


def _message(evidence: Evidence) -> str:
    figures = {
        role: percent_text(one.scores["words"].figure) for role, one in evidence.scores.items()
    }
    others = ", ".join(f"{role} {wer}" for role, wer in figures.items() if role != "challenger")
    return "\n".join(
        [
            f"Promote challenger: WER {figures['challenger']} ({others})",
            "",
            f"{TRAILER}{evidence.decision.digest}",
            f"Dataset: {evidence.dataset.digest}",
            f"Training run: {evidence.run.digest}",
            f"Model: {evidence.run.checkpoint.model_digest}",
        ]
    )


def _check_files(checkpoint: Checkpoint, published: Path, where: str) -> None:
    """The published files are the checkpoint's."""
    for name, artifact in checkpoint.files.items():
        path = published / name
        found = sha256_of(path) if path.is_file() else "no such file"
        if found != artifact.sha256:
            raise IntegrityError(
                f"the published {name} is not the checkpoint's; no tag was moved",
                where=where,
                expected=f"sha256 {artifact.sha256}",
                got=found,
                remedy="look at who else commits to the repo",
            )


def _check_texts(found: Verification, expected: Verification, where: str) -> None:
    """What was published writes what the checkpoint writes."""
    if found != expected:
        # No text is shown: errors are logged and sent to people.
        raise PermanentError(
            "the published model transcribes the test utterances differently; no tag was moved",
            where=where,
            expected="the checkpoint's transcripts",
            got="others",
            remedy="compare the revision's files that are not the checkpoint's",
        )


def _promotion(
    evidence: Evidence,
    config: ReleaseConfig,
    edges: Edges,
    published: _Published,
    previous: str | None,
) -> Promotion:
    now = edges.clock.now()
    wer = evidence.scores_of("challenger").scores["words"]
    return Promotion(
        kind="promotion",
        repo=config.repo,
        revision=published.revision,
        parent_revision=published.parent,
        tags=(f"v{now:%Y-%m-%d}-{published.revision[:7]}", config.champion_tag),
        decision_digest=evidence.decision.digest,
        model_digest=evidence.run.checkpoint.model_digest,
        at=now,
        previous_revision=previous,
        wer=wer.figure,
        wer_interval=wer.interval,
        test_set_digest=evidence.decision.test_set_digest,
    )

"""The champion tag's write-ahead log: an intent first, then tags, notification and record.

A process may die at any moment. What it had promised lies in S3 as an intent; whoever comes next
(`complete`, by a retry, or `recover`, by any later flow run) carries it out to the same end: tags
moved, one notification, one record. Knows nothing of decisions, weights or cards.

    promotion/v1/<key>/intent.json    the whole effect, written before the first tag moves
    promotion/v1/<key>/record.json    the Promotion, written last
"""

from __future__ import annotations

from dataclasses import dataclass

from whisper_retrain.config import ReleaseConfig
from whisper_retrain.edges.clock import Clock
from whisper_retrain.edges.hub import Hub
from whisper_retrain.edges.store import ObjectStore, read_record, write_record
from whisper_retrain.errors import ConflictError, PermanentError
from whisper_retrain.records import Promotion, Record
from whisper_retrain.release.notifications import Notification
from whisper_retrain.release.outbox import enqueue

_PREFIX = "promotion/v1/"


@dataclass(frozen=True)
class Edges:
    """The outside world of a release."""

    hub: Hub
    """Where champions are published."""
    store: ObjectStore
    """Where records are."""
    clock: Clock
    """What time it is."""


class Intent(Record):
    """An effect that is decided on and may have begun; the champion's tag is the last."""

    key: str
    """Digest of the ReleaseJob, or of the rollback's request."""
    promotion: Promotion
    """What will be recorded."""
    notification: Notification
    """What people will be told."""


def finished(store: ObjectStore, key: str) -> Promotion | None:
    """The record of an effect that is complete, or None."""
    return read_record(store, f"{_PREFIX}{key}/record.json", Promotion)


def begun(store: ObjectStore, key: str) -> Intent | None:
    """The intent of an effect that has begun, finished or not."""
    return read_record(store, f"{_PREFIX}{key}/intent.json", Intent)


def carry_out(intent: Intent, edges: Edges) -> Promotion:
    """Promise an effect, then complete it; a promise made earlier under the same key holds."""
    edges.store.create(
        f"{_PREFIX}{intent.key}/intent.json", intent.model_dump_json(indent=1).encode()
    )
    promised = begun(edges.store, intent.key)
    if promised is None:
        raise PermanentError(
            "an intent vanished right after it was written",
            where=edges.store.uri(f"{_PREFIX}{intent.key}/intent.json"),
            remedy="does another process delete under promotion/? Run the promotion again",
        )
    return complete(promised, edges)


def complete(intent: Intent, edges: Edges) -> Promotion:
    """Move the tags, the champion's last, enqueue the notification, write the record.

    Raises ConflictError, and withdraws the intent, when the champion tag is neither where it was
    promised from nor where it is to go: somebody else moved it.
    """
    promotion = intent.promotion
    _refuse_if_moved(intent, edges)
    for tag in promotion.tags:
        edges.hub.move_tag(promotion.repo, tag, promotion.revision)
    enqueue(edges.store, intent.notification)
    write_record(edges.store, f"{_PREFIX}{intent.key}/record.json", promotion)
    return promotion


def _refuse_if_moved(intent: Intent, edges: Edges) -> None:
    promotion = intent.promotion
    now = edges.hub.tags(promotion.repo).get(promotion.tags[-1])
    # No tag at all: the Hub cannot move one, so it is deleted and made anew; we died in between.
    if now in {None, promotion.previous_revision, promotion.revision}:
        return
    edges.store.delete(f"{_PREFIX}{intent.key}/intent.json")
    raise ConflictError(
        f"the tag {promotion.tags[-1]} was moved by somebody else meanwhile",
        where=promotion.repo,
        expected=str(promotion.previous_revision),
        got=str(now),
        remedy="run the gate again: it compares with the champion as it is now",
    )


def recover(config: ReleaseConfig, edges: Edges) -> list[Promotion]:
    """Complete whatever an earlier process of this repo left unfinished; mostly nothing."""
    keys = [key for key in edges.store.keys(_PREFIX) if key.count("/") == 3]
    folders = {
        name: {key.rsplit("/", 1)[0] for key in keys if key.endswith(name)}
        for name in ("/intent.json", "/record.json")
    }
    completed = []
    for folder in sorted(folders["/intent.json"] - folders["/record.json"]):
        intent = begun(edges.store, folder.removeprefix(_PREFIX))
        if intent is None or intent.promotion.repo != config.repo:
            continue
        try:
            completed.append(complete(intent, edges))
        except ConflictError:
            continue  # withdrawn: the champion has changed since, and that is the newer word
    return completed


def champions(store: ObjectStore, config: ReleaseConfig) -> list[Promotion]:
    """Every promotion and rollback of this repo under this tag, oldest first."""
    keys = [key for key in store.keys(_PREFIX) if key.endswith("/record.json")]
    records = [read_record(store, key, Promotion) for key in keys]
    place = config.repo, config.champion_tag
    ours = [one for one in records if one is not None and (one.repo, one.tags[-1]) == place]
    return sorted(ours, key=lambda one: one.at)


def promoted(store: ObjectStore, config: ReleaseConfig, decision_digest: str) -> Promotion | None:
    """The finished promotion of a decision in this repo under this tag, or None.

    Looked for among the records and not by its key, which an earlier version chose otherwise.
    """
    return next(
        (
            one
            for one in champions(store, config)
            if one.kind == "promotion" and one.decision_digest == decision_digest
        ),
        None,
    )


def superseded(promotion: Promotion, config: ReleaseConfig, edges: Edges) -> str | None:
    """Who is champion instead of what was promoted, as a sentence; None where the Hub says it is.

    Raises PermanentError when the Hub does not have what the record says was published.
    """
    tags = edges.hub.tags(config.repo) if edges.hub.head(config.repo) else {}
    dated, champion = promotion.tags[0], tags.get(config.champion_tag)
    if tags.get(dated) != promotion.revision:
        raise PermanentError(
            "a promotion is recorded that the Hub does not have",
            where=f"{config.repo}, tag {dated}",
            expected=promotion.revision,
            got=tags.get(dated) or "no such tag or repo",
            remedy="was the repo or the tag deleted? Name another repo, or set the tag again",
        )
    if champion == promotion.revision:
        return None
    moves = [one for one in champions(edges.store, config) if one.revision == champion]
    how = f"by a {moves[-1].kind} of {moves[-1].at:%Y-%m-%d %H:%M} UTC" if moves else "by hand"
    return (
        f"{promotion.revision} was promoted on {promotion.at:%Y-%m-%d %H:%M} UTC; the champion of "
        f"{config.repo} is now {champion or 'none'}, {how}"
    )


def current_champion(config: ReleaseConfig, hub: Hub) -> str | None:
    """The revision that the champion tag points to; None without a repo or a tag.

    Call `recover` before trusting a None: a process that died while moving the tag leaves none.
    """
    if hub.head(config.repo) is None:
        return None
    return hub.tags(config.repo).get(config.champion_tag)

"""Rollback: the champion tag goes back to an earlier revision, recorded as a promotion.

Each rollback is requested under a key (say the flow run's id): a retry of the same request does not
go back twice. Knows nothing of decisions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from whisper_retrain.config import ReleaseConfig
from whisper_retrain.errors import InputError
from whisper_retrain.model_files import model_digest
from whisper_retrain.records import Promotion, digest_of
from whisper_retrain.release.notifications import model_rolled_back
from whisper_retrain.release.scores import short
from whisper_retrain.release.transaction import (
    Edges,
    Intent,
    begun,
    carry_out,
    champions,
    complete,
    current_champion,
    finished,
    recover,
)
from whisper_retrain.release.verify import load_in_child


def rollback(
    request: str,
    config: ReleaseConfig,
    edges: Edges,
    to_revision: str | None = None,
    reason: str = "",
    loads: Callable[[Path], object] = load_in_child,
) -> Promotion:
    """Make an earlier revision the champion again: the previous champion, or the one given.

    A given revision (any ref of the repo) that never was a champion must be a Whisper model that
    `loads`. Raises InputError when there is nothing to go back to.
    """
    place = {"repo": config.repo, "champion_tag": config.champion_tag}
    key = digest_of({"rollback": request} | place)
    if done := finished(edges.store, key):
        return done
    recover(config, edges)
    if (promised := begun(edges.store, key)) is not None:
        return complete(promised, edges)
    current, past = current_champion(config, edges.hub), champions(edges.store, config)
    target = _target(to_revision, current, past, config, edges)
    was = next((one for one in reversed(past) if one.revision == target), None)
    digest = was.model_digest if was else _digest_if_loadable(target, config, edges, loads)
    promotion = Promotion(
        kind="rollback",
        repo=config.repo,
        revision=target,
        parent_revision=None,
        tags=(config.champion_tag,),
        decision_digest=was.decision_digest if was else None,
        model_digest=digest,
        at=edges.clock.now(),
        previous_revision=current,
        wer=was.wer if was else None,
        wer_interval=was.wer_interval if was else None,
        test_set_digest=was.test_set_digest if was else None,
    )
    links = {"model": edges.hub.url(config.repo, target)}
    notification = model_rolled_back(promotion, key, reason, links)
    return carry_out(Intent(key=key, promotion=promotion, notification=notification), edges)


def _target(
    wanted: str | None,
    current: str | None,
    past: list[Promotion],
    config: ReleaseConfig,
    edges: Edges,
) -> str:
    if wanted is None:
        return _previous(current, past, config)
    target = edges.hub.resolve(config.repo, wanted)
    if target == current:
        raise InputError(
            "this revision is the champion already",
            where=f"{config.repo}, tag {config.champion_tag}",
            got=target,
            remedy="name another revision, or none for the previous champion",
        )
    return target


def _previous(current: str | None, past: list[Promotion], config: ReleaseConfig) -> str:
    """The champion that the current one replaced when it was promoted."""
    promoted = [one for one in past if one.kind == "promotion" and one.revision == current]
    if promoted and promoted[-1].previous_revision:
        return promoted[-1].previous_revision
    raise InputError(
        "there is no previous champion to go back to",
        where=f"{config.repo}, tag {config.champion_tag} at {short(current)}",
        expected="a champion that was promoted in place of another",
        got="the first champion" if promoted else "a champion without a promotion record",
        remedy="name the revision to go back to",
    )


def _digest_if_loadable(
    revision: str, config: ReleaseConfig, edges: Edges, loads: Callable[[Path], object]
) -> str:
    with TemporaryDirectory(prefix="rollback-") as name:
        folder = edges.hub.download(config.repo, revision, Path(name) / "model")
        loads(folder)
        return model_digest(folder)

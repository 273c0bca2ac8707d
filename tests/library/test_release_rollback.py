"""Rollback on a real Hub server and a real S3 server, killed at every effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.releases import (
    Killed,
    evidence_for,
    mortal,
    promoted_twice,
    publish,
)
from whisper_retrain.config import ReleaseConfig
from whisper_retrain.errors import InputError
from whisper_retrain.release.outbox import pending
from whisper_retrain.release.rollback import rollback
from whisper_retrain.release.transaction import Edges, champions, current_champion


def test_a_rollback_makes_the_previous_champion_the_champion_again(
    edges: Edges, config: ReleaseConfig
) -> None:
    first, second = promoted_twice(config, edges)
    back = rollback("request-1", config, edges, reason="mishears doses")
    assert back.kind == "rollback"
    assert back.revision == first.revision
    assert back.previous_revision == second.revision
    assert back.model_digest == first.model_digest
    assert current_champion(config, edges.hub) == first.revision
    assert edges.hub.tags(config.repo)[second.tags[0]] == second.revision
    told = pending(edges.store)[-1]
    assert told.event == "model.rolled-back"
    assert "mishears doses" in told.body
    assert champions(edges.store, config) == [first, second, back]


def test_the_same_request_goes_back_once_and_the_next_one_further(
    edges: Edges, config: ReleaseConfig
) -> None:
    first, second = promoted_twice(config, edges)
    third = publish(evidence_for(edges, b"third", second.revision), config, edges)
    back = rollback("request-1", config, edges)
    assert (back.previous_revision, back.revision) == (third.revision, second.revision)
    assert rollback("request-1", config, edges) == back
    assert rollback("request-2", config, edges).revision == first.revision
    with pytest.raises(InputError, match="no previous champion"):
        rollback("request-3", config, edges)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_rollback_killed_at_any_effect_and_retried_ends_the_same(
    edges: Edges, config: ReleaseConfig, before: bool
) -> None:
    first, second = promoted_twice(config, edges)
    for effect in range(5):
        dying, _ = mortal(edges, effect, before)
        target = (first, second)[effect % 2].revision
        try:
            rollback(f"request-{effect}", config, dying, to_revision=target)
        except Killed:
            rollback(f"request-{effect}", config, edges, to_revision=target)
        assert current_champion(config, edges.hub) == target
    assert sum(one.kind == "rollback" for one in champions(edges.store, config)) == 5
    assert sum(one.event == "model.rolled-back" for one in pending(edges.store)) == 5


def test_a_rerun_of_a_promotion_does_not_undo_a_later_rollback(
    edges: Edges, config: ReleaseConfig
) -> None:
    first = publish(evidence_for(edges, b"first"), config, edges)
    evidence = evidence_for(edges, b"second", first.revision)
    publish(evidence, config, edges)
    rollback("request-1", config, edges)
    publish(evidence, config, edges)
    assert current_champion(config, edges.hub) == first.revision


def test_a_given_revision_must_exist_and_load(edges: Edges, config: ReleaseConfig) -> None:
    first, second = promoted_twice(config, edges)
    with pytest.raises(InputError, match="no such"):
        rollback("request-1", config, edges, to_revision="ab" * 20)
    with pytest.raises(InputError, match="is the champion already"):
        rollback("request-2", config, edges, to_revision=second.revision)
    assert rollback("request-3", config, edges, to_revision=first.tags[0]).revision == (
        first.revision
    )


def test_a_revision_that_never_was_a_champion_is_loaded_first(
    edges: Edges, config: ReleaseConfig
) -> None:
    first = publish(evidence_for(edges, b"first"), config, edges)
    files = {"config.json": b"{}", "generation_config.json": b"{}", "model.safetensors": b"other"}
    stray = edges.hub.commit(config.repo, files, "by hand", first.revision)
    loaded: list[bytes] = []

    def loads(folder: Path) -> None:
        loaded.append((folder / "model.safetensors").read_bytes())

    moved = rollback("request-1", config, edges, to_revision=stray, loads=loads)
    assert loaded == [b"other"]
    assert moved.decision_digest is None
    assert current_champion(config, edges.hub) == stray

"""Promotion and rollback on a real Hub server and a real S3 server, killed at every effect."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from tests.fixtures.evidence import a_checkpoint, some_evidence, some_scores
from tests.fixtures.hub import HubServer
from whisper_retrain.config import ReleaseConfig
from whisper_retrain.edges.hub import HubClient
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import ConflictError, InputError, IntegrityError, PermanentError
from whisper_retrain.records import Promotion
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.release.outbox import pending
from whisper_retrain.release.promotion import promote
from whisper_retrain.release.rollback import rollback
from whisper_retrain.release.transaction import Edges, champions, current_champion, recover

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Killed(BaseException):
    """The process dies here."""


@dataclass
class TickingClock:
    """Every look is a day later, so that nothing can depend on a retry being quick."""

    at: datetime = NOON

    def now(self) -> datetime:
        self.at += timedelta(days=1)
        return self.at


class Mortal:
    """Passes calls on to a real edge, and dies before or after the n-th effect."""

    EFFECTS = ("create_repo", "commit", "move_tag", "create", "write", "delete")

    def __init__(self, edge: Any, life: list[str], after: int, before: bool) -> None:
        self._edge, self._life, self._after, self._before = edge, life, after, before

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._edge, name)
        return self._mortal(name, method) if name in self.EFFECTS else method

    def _mortal(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            dies = len(self._life) == self._after
            self._life.append(name)
            if dies and self._before:
                raise Killed
            answer = method(*arguments, **named)
            if dies:
                raise Killed
            return answer

        return call


def mortal(edges: Edges, after: int, before: bool) -> tuple[Edges, list[str]]:
    life: list[str] = []
    return (
        replace(
            edges,
            hub=Mortal(edges.hub, life, after, before),
            store=Mortal(edges.store, life, after, before),
        ),
        life,
    )


def weights_of(folder: Path) -> str:
    """Stands for a transcript: another one for other weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def edges(hub_server: HubServer, s3_store: S3Store) -> Edges:
    return Edges(HubClient(hub_server.endpoint, hub_server.token), s3_store, TickingClock())


@pytest.fixture
def config(hub_server: HubServer) -> ReleaseConfig:
    return ReleaseConfig(repo=hub_server.new_name())


def evidence_for(edges: Edges, weights: bytes, champion: str | None = None) -> Evidence:
    return some_evidence(a_checkpoint(edges.store, weights), champion_revision=champion)


def publish(evidence: Evidence, config: ReleaseConfig, edges: Edges) -> Promotion:
    return promote(evidence, some_scores(evidence), weights_of, config, edges, "s3://r/report.html")


def promoted_twice(config: ReleaseConfig, edges: Edges) -> tuple[Promotion, Promotion]:
    first = publish(evidence_for(edges, b"first"), config, edges)
    second = publish(evidence_for(edges, b"second", first.revision), config, edges)
    return first, second


def state(config: ReleaseConfig, edges: Edges) -> dict[str, Any]:
    """All that a promotion leaves behind."""
    commits = [one.message for one in edges.hub.history(config.repo) if "Decision: " in one.message]
    return {
        "commits": len(commits),
        "tags": edges.hub.tags(config.repo),
        "records": champions(edges.store, config),
        "notifications": [one.id for one in pending(edges.store)],
    }


def test_a_first_promotion_publishes_model_card_and_lineage_under_two_tags(
    edges: Edges, config: ReleaseConfig, tmp_path: Path
) -> None:
    evidence = evidence_for(edges, b"first")
    done = publish(evidence, config, edges)
    assert done.tags == (f"v2026-11-23-{done.revision[:7]}", "champion")
    assert edges.hub.tags(config.repo) == dict.fromkeys(done.tags, done.revision)
    assert current_champion(config, edges.hub) == done.revision
    folder = edges.hub.download(config.repo, done.revision, tmp_path / "model")
    assert (folder / "model.safetensors").read_bytes() == b"first"
    assert ModelCard.load(folder / "README.md").data.eval_results[0].metric_value == 5.0
    lineage = json.loads((folder / "lineage.json").read_bytes())
    assert lineage["decision"]["digest"] == evidence.decision.digest
    assert done.wer == pytest.approx(0.05)
    assert done.previous_revision is None


def test_the_notification_waits_in_the_outbox_when_the_record_is_written(
    edges: Edges, config: ReleaseConfig
) -> None:
    done = publish(evidence_for(edges, b"first"), config, edges)
    (told,) = pending(edges.store)
    assert told.event == "model.promoted"
    assert done.revision in told.body
    assert f"Model: {edges.hub.url(config.repo, done.revision)}" in told.body
    assert "Report: s3://r/report.html" in told.body


def test_run_again_it_changes_nothing(edges: Edges, config: ReleaseConfig) -> None:
    evidence = evidence_for(edges, b"first")
    done = publish(evidence, config, edges)
    before = state(config, edges)
    assert publish(evidence, config, edges) == done
    assert state(config, edges) == before
    assert before["commits"] == 1


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_at_any_effect_and_run_again_it_ends_the_same(
    edges: Edges, config: ReleaseConfig, hub_server: HubServer, before: bool
) -> None:
    first = publish(evidence_for(edges, b"first"), config, edges)
    known = {one.id for one in pending(edges.store)}
    champion, effect = first.revision, 0
    while True:
        evidence = evidence_for(edges, f"{effect}".encode(), champion)
        dying, life = mortal(edges, effect, before)
        try:
            done = publish(evidence, config, dying)
            survived = True
        except Killed:
            survived = False
            done = publish(evidence, config, edges)
        assert edges.hub.tags(config.repo)["champion"] == done.revision
        assert edges.hub.tags(config.repo)[done.tags[0]] == done.revision
        assert champions(edges.store, config)[-1] == done
        champion, effect = done.revision, effect + 1
        if survived:
            break
    assert set(life) == {"create_repo", "commit", "create", "move_tag", "write"}
    promotions = effect + 1
    left = state(config, edges)
    assert left["commits"] == promotions
    assert len(left["records"]) == promotions
    assert len(set(left["notifications"]) - known) == promotions - 1
    assert len(left["tags"]) == promotions + 1, "one dated tag each, whatever day it was retried on"


def test_killed_after_its_promise_it_is_completed_by_any_later_run(
    edges: Edges, config: ReleaseConfig
) -> None:
    dying, _ = mortal(edges, after=3, before=True)
    with pytest.raises(Killed):
        publish(evidence_for(edges, b"first"), config, dying)
    assert current_champion(config, edges.hub) is None
    (completed,) = recover(config, edges)
    assert current_champion(config, edges.hub) == completed.revision
    assert len(pending(edges.store)) == 1
    assert recover(config, edges) == []


def test_a_retry_finds_its_own_commit_although_others_have_committed_since(
    edges: Edges, config: ReleaseConfig, hub_server: HubServer
) -> None:
    evidence = evidence_for(edges, b"first")
    dying, life = mortal(edges, after=1, before=False)
    with pytest.raises(Killed):
        publish(evidence, config, dying)
    assert life == ["create_repo", "commit"]
    ours = edges.hub.head(config.repo)
    hub_server.api().upload_file(
        path_or_fileobj=b"a note", path_in_repo="NOTES.md", repo_id=config.repo
    )
    assert publish(evidence, config, edges).revision == ours
    assert state(config, edges)["commits"] == 1


def test_a_champion_tag_lost_in_the_middle_of_its_move_is_set_again(
    edges: Edges, config: ReleaseConfig, hub_server: HubServer
) -> None:
    first = publish(evidence_for(edges, b"first"), config, edges)
    evidence = evidence_for(edges, b"second", first.revision)
    dying, _ = mortal(edges, after=4, before=True)
    with pytest.raises(Killed):
        publish(evidence, config, dying)
    hub_server.api().delete_tag(config.repo, tag="champion")
    done = publish(evidence, config, edges)
    assert current_champion(config, edges.hub) == done.revision
    assert done.previous_revision == first.revision


def test_a_champion_moved_by_hand_after_the_promise_withdraws_it(
    edges: Edges, config: ReleaseConfig, hub_server: HubServer
) -> None:
    first = publish(evidence_for(edges, b"first"), config, edges)
    evidence = evidence_for(edges, b"second", first.revision)
    dying, life = mortal(edges, after=2, before=False)
    with pytest.raises(Killed):
        publish(evidence, config, dying)
    assert life[-1] == "create", "the intent"
    by_hand = edges.hub.commit(
        config.repo, {"NOTES.md": b"by hand"}, "by hand", edges.hub.head(config.repo)
    )
    edges.hub.move_tag(config.repo, "champion", by_hand)
    assert recover(config, edges) == []
    with pytest.raises(ConflictError, match="not the model that the decision compared with"):
        publish(evidence, config, edges)
    assert current_champion(config, edges.hub) == by_hand
    assert champions(edges.store, config) == [first]
    assert len(pending(edges.store)) == 1


def test_a_checkpoint_that_does_not_load_is_never_pushed(
    edges: Edges, config: ReleaseConfig
) -> None:
    def refuse(folder: Path) -> str:
        raise PermanentError("does not load", where=str(folder))

    evidence = evidence_for(edges, b"broken")
    with pytest.raises(PermanentError, match="does not load"):
        promote(evidence, some_scores(evidence), refuse, config, edges)
    assert edges.hub.head(config.repo) is None


def test_a_decision_that_is_not_promote_is_refused(edges: Edges, config: ReleaseConfig) -> None:
    evidence = some_evidence(a_checkpoint(edges.store, b"weak"), outcome="inconclusive")
    with pytest.raises(InputError, match="only a decision `promote`"):
        publish(evidence, config, edges)
    assert edges.hub.head(config.repo) is None


def test_a_champion_other_than_the_one_compared_with_is_a_conflict(
    edges: Edges, config: ReleaseConfig
) -> None:
    first = publish(evidence_for(edges, b"first"), config, edges)
    late = evidence_for(edges, b"second")
    with pytest.raises(ConflictError, match="not the model that the decision compared with"):
        publish(late, config, edges)
    assert state(config, edges)["commits"] == 1
    assert current_champion(config, edges.hub) == first.revision


def test_a_head_that_moves_during_the_push_is_a_conflict_and_moves_no_tag(
    edges: Edges, config: ReleaseConfig, hub_server: HubServer
) -> None:
    class Intruder(Mortal):
        def __getattr__(self, name: str) -> Any:
            if name == "commit":
                hub_server.api().upload_file(
                    path_or_fileobj=b"mine", path_in_repo="other.txt", repo_id=config.repo
                )
            return getattr(self._edge, name)

    evidence = evidence_for(edges, b"first")
    intruded = replace(edges, hub=Intruder(edges.hub, [], 0, True))
    with pytest.raises(ConflictError, match="somebody else has committed"):
        publish(evidence, config, intruded)
    assert edges.hub.tags(config.repo) == {}
    assert publish(evidence, config, edges).kind == "promotion", "and it can be run again"


def test_a_model_that_says_something_else_once_published_moves_no_tag(
    edges: Edges, config: ReleaseConfig
) -> None:
    evidence = evidence_for(edges, b"first")
    with pytest.raises(PermanentError, match="transcribes the test utterance differently"):
        promote(evidence, some_scores(evidence), lambda folder: folder.name, config, edges)
    assert edges.hub.tags(config.repo) == {}
    assert champions(edges.store, config) == []
    assert pending(edges.store) == []


def test_a_published_file_that_is_not_the_checkpoints_moves_no_tag(
    edges: Edges, config: ReleaseConfig
) -> None:
    class Tampering(Mortal):
        def __getattr__(self, name: str) -> Any:
            if name != "commit":
                return getattr(self._edge, name)
            return lambda repo, files, message, parent: self._edge.commit(
                repo, {**files, "tokenizer.json": b"other"}, message, parent
            )

    evidence = evidence_for(edges, b"first")
    tampered = replace(edges, hub=Tampering(edges.hub, [], 0, True))
    with pytest.raises(IntegrityError, match=r"tokenizer\.json is not the checkpoint's"):
        publish(evidence, config, tampered)
    assert edges.hub.tags(config.repo) == {}


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


def test_two_repos_in_one_store_have_histories_of_their_own(
    edges: Edges, config: ReleaseConfig, hub_server: HubServer
) -> None:
    other = ReleaseConfig(repo=hub_server.new_name())
    mine = publish(evidence_for(edges, b"first"), config, edges)
    theirs = publish(evidence_for(edges, b"theirs"), other, edges)
    assert champions(edges.store, config) == [mine]
    assert champions(edges.store, other) == [theirs]

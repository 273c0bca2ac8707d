"""Promotion on a real Hub server and a real S3 server, killed at every effect."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from tests.fixtures.evidence import a_checkpoint, some_evidence
from tests.fixtures.hub import HubServer
from tests.fixtures.releases import (
    Killed,
    Mortal,
    evidence_for,
    mortal,
    publish,
    state,
    trying,
)
from whisper_retrain.config import ReleaseConfig
from whisper_retrain.errors import ConflictError, InputError, IntegrityError, PermanentError
from whisper_retrain.release.outbox import pending
from whisper_retrain.release.promotion import promote
from whisper_retrain.release.rollback import rollback
from whisper_retrain.release.transaction import (
    Edges,
    champions,
    current_champion,
    recover,
    superseded,
)
from whisper_retrain.release.verify import Verification


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
    def refuse(model: str, revision: str | None) -> Verification:
        raise PermanentError("does not load", where=model)

    evidence = evidence_for(edges, b"broken")
    with pytest.raises(PermanentError, match="does not load"):
        promote(evidence, refuse, config, edges)
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
    def fickle(model: str, revision: str | None) -> Verification:
        found = trying(edges)(model, revision)
        return found.model_copy(update={"texts_digest": "other"}) if revision else found

    evidence = evidence_for(edges, b"first")
    with pytest.raises(PermanentError, match="transcribes the test utterances differently"):
        promote(evidence, fickle, config, edges)
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


def test_the_same_decision_is_another_promotion_in_another_repo_and_under_another_tag(
    edges: Edges, config: ReleaseConfig, hub_server: HubServer
) -> None:
    evidence = evidence_for(edges, b"first")
    places = [
        config,
        ReleaseConfig(repo=hub_server.new_name()),
        ReleaseConfig(repo=config.repo, champion_tag="trial"),
    ]
    for number, place in enumerate(places, start=1):
        done = publish(evidence, place, edges)
        assert (done.repo, done.tags[-1]) == (place.repo, place.champion_tag)
        assert current_champion(place, edges.hub) == done.revision
        assert champions(edges.store, place) == [done]
        assert len({one.id for one in pending(edges.store)}) == number
        assert superseded(done, place, edges) is None


def test_a_promotion_that_was_rolled_back_or_replaced_is_superseded_by_the_champion(
    edges: Edges, config: ReleaseConfig, hub_server: HubServer
) -> None:
    first = publish(evidence_for(edges, b"first"), config, edges)
    assert superseded(first, config, edges) is None
    second = publish(evidence_for(edges, b"second", first.revision), config, edges)
    told = superseded(first, config, edges)
    assert told is not None
    assert f"is now {second.revision}, by a promotion of" in told
    rollback("request", config, edges)
    told = superseded(second, config, edges)
    assert told is not None
    assert f"is now {first.revision}, by a rollback of" in told
    by_hand = edges.hub.commit(config.repo, {"a.md": b"a"}, "a", edges.hub.head(config.repo))
    edges.hub.move_tag(config.repo, "champion", by_hand)
    told = superseded(first, config, edges)
    assert told is not None
    assert told.endswith(f"is now {by_hand}, by hand")


def test_a_promotion_that_the_hub_does_not_have_is_never_said_to_stand(
    edges: Edges, config: ReleaseConfig, hub_server: HubServer
) -> None:
    done = publish(evidence_for(edges, b"first"), config, edges)
    hub_server.api().delete_tag(config.repo, tag=done.tags[0])
    with pytest.raises(PermanentError, match="recorded that the Hub does not have"):
        superseded(done, config, edges)
    hub_server.api().delete_repo(config.repo)
    with pytest.raises(PermanentError, match="no such tag or repo"):
        superseded(done, config, edges)


def test_two_repos_in_one_store_have_histories_of_their_own(
    edges: Edges, config: ReleaseConfig, hub_server: HubServer
) -> None:
    other = ReleaseConfig(repo=hub_server.new_name())
    mine = publish(evidence_for(edges, b"first"), config, edges)
    theirs = publish(evidence_for(edges, b"theirs"), other, edges)
    assert champions(edges.store, config) == [mine]
    assert champions(edges.store, other) == [theirs]

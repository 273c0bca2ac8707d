"""What an earlier version stored still loads: `tests/fixtures/stored` holds a store as it was left.

It lay at `s3://tests/stored` and holds two retrainings (promoted, rejected), their evidence, cases,
looks, reports, promotions and a rollback, and what waited in the outbox. A field that comes later
needs a default and a place in the record's `added`, else an older record gets another digest and
no longer fits the records that name it.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from tests.fixtures.s3 import S3Server
from whisper_retrain.config import ReleaseConfig
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.jobs import load_evaluation
from whisper_retrain.gate.comparable import check_comparable
from whisper_retrain.gate.terms import TermChange
from whisper_retrain.history.cases import Case, load_cases, replay
from whisper_retrain.history.looks import Lineage, enter_look
from whisper_retrain.history.retrainings import latest_retraining, promoted_evidence
from whisper_retrain.records import Pair, SplitState
from whisper_retrain.release.measured import differences_of
from whisper_retrain.release.outbox import pending
from whisper_retrain.release.transaction import begun, champions, promoted

KEPT = Path(__file__).parents[1] / "fixtures" / "stored"
RELEASE = ReleaseConfig(repo="demo/whisper-stored")
PROMOTED = "eeb7b7bdf2f6f52021798e1075e4a29eff21759d64703cc98eecb482c1763af0"
REJECTED = "25e07b069fc83c50ccfa60f246f232b440bfae1b9deea281105e2e57fd29cc8d"


@pytest.fixture
def store(s3_server: S3Server) -> S3Store:
    """The kept store, at the place that its records name."""
    s3_server.store()
    store = S3Store("s3://tests/stored", s3_server.client())
    for path in sorted(KEPT.rglob("*.*")):
        if path.is_file():
            store.write(path.relative_to(KEPT).as_posix(), path.read_bytes())
    return store


def test_retrainings_load_with_the_evidence_they_rest_on(store: S3Store) -> None:
    last = latest_retraining(store, RELEASE)
    assert last is not None
    assert last.evidence.decision.digest == REJECTED
    assert last.promotion is None
    assert last.request.release == RELEASE
    assert f"retrain/v1/{last.request.digest}/record.json" in set(store.keys("retrain/v1/"))
    for report in (last.evidence.challenger, last.evidence.champion):
        assert f'"{report.digest}"' in last.evidence.decision.model_dump_json()


def test_evidence_kept_for_a_rerun_is_found_again_when_its_promotion_is_finished(
    store: S3Store,
) -> None:
    last = latest_retraining(store, RELEASE)
    assert last is not None
    assert promoted_evidence(store, last.request) is None, "it was rejected"
    before = promoted_evidence(store, last.request.model_copy(update={"general_speech": None}))
    assert before is not None
    assert before.decision.digest == PROMOTED


def test_evidence_without_figures_is_refused_with_a_sentence_by_all_that_would_show_them(
    store: S3Store,
) -> None:
    last = latest_retraining(store, RELEASE)
    assert last is not None
    for show in (
        partial(last.evidence.scores_of, "challenger"),
        partial(differences_of, store, last.evidence),
    ):
        with pytest.raises(InputError, match=r"stored by an earlier version.*the gate measures"):
            show()


def test_promotions_and_rollbacks_load_and_are_told_apart(store: S3Store) -> None:
    first, back = champions(store, RELEASE)
    assert (first.kind, back.kind) == ("promotion", "rollback")
    assert promoted(store, RELEASE, PROMOTED) == first
    assert promoted(store, RELEASE, REJECTED) is None
    intent = begun(store, PROMOTED)
    assert intent is not None
    assert intent.promotion == first


def test_cases_load_and_are_decided_again(store: S3Store) -> None:
    load = partial(load_evaluation, store)
    cases = load_cases(store)
    assert [case.decision.digest for case in cases] == [PROMOTED, REJECTED]
    for case in cases:
        check_comparable(load(case.champion), load(case.challenger))
        assert not replay(case, load).changed


def test_the_two_sides_load_by_the_names_that_they_had() -> None:
    """`before` and `after` of a term, and a pair of reports as a list."""
    stored = {"term": "warfarin", "tier": "drug", "occurrences": 3, "before": 2, "after": 1}
    term = TermChange.model_validate_json(json.dumps(stored))
    assert (term.champion, term.challenger) == (2, 1)
    assert TermChange.model_validate_json(term.model_dump_json()) == term
    (kept, *_) = sorted((KEPT / "gate" / "cases" / "v1").glob("*.json"))
    values = json.loads(kept.read_text())
    values["guard"] = [values["champion"], values["challenger"]]
    case = Case.model_validate_json(json.dumps(values))
    assert case.guard == Pair(champion=case.champion, challenger=case.challenger)


def test_a_dataset_revision_keeps_its_digest_though_its_split_state_has_a_type(
    store: S3Store,
) -> None:
    last = latest_retraining(store, RELEASE)
    assert last is not None
    stored = json.loads(last.evidence.dataset.model_dump_json())["split_state"]
    flat = {"speaker": "8f", "test_policy": "aa", "shards": "1-decoding-1"}
    state = SplitState.model_validate(flat)
    assert (state.cuts, state.test_policy, state.shards) == (
        {"speaker": "8f"},
        "aa",
        flat["shards"],
    )
    assert state.model_dump(mode="json") == flat
    assert SplitState().model_dump(mode="json") == {}
    assert SplitState.model_validate(stored).model_dump(mode="json") == stored
    assert last.evidence.run.dataset_digest == last.evidence.dataset.digest


def test_looks_go_on_being_counted(store: S3Store) -> None:
    (case, _) = load_cases(store)
    models = case.champion.model.model_digest, "another challenger"
    digest = case.decision.test_set_digest
    lineage = Lineage("the first revision", {"audio": 10}, [digest])
    standing = enter_look(store, lineage, *models, case.at)
    assert (standing.looks, standing.charged) == (2, 2)
    assert standing.share == pytest.approx((1 - 0.4 - 0.8 / 6 - 2 * 0.2 / 52) / 50)


def test_what_waited_in_the_outbox_is_still_delivered(store: S3Store) -> None:
    assert {one.event for one in pending(store)} == {
        "model.promoted",
        "model.rolled-back",
        "challenger.rejected",
    }

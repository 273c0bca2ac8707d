"""The chain's flows for real: one Prefect server, S3, the Hub, a small Whisper that learns tones.

One training and its evaluations serve all tests: what was done before is found again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.utilities.callables import parameter_schema

import flows.retrain
from flows.fine_tuning import fine_tuning
from flows.gate import gate
from flows.rollback import rollback
from tasks import services
from tests.fixtures.chain import DECODING, DEMANDING, LEARNS, LENIENT, UNSURE, Chain, spoken_rows
from tests.fixtures.keys import rows_of
from tests.fixtures.machines import Machines, works
from tests.fixtures.recordings import encoded, tone, write_folder
from tests.fixtures.tools import need
from whisper_retrain import model_files
from whisper_retrain.config import CandidatesConfig, ReleaseConfig, guard_of
from whisper_retrain.data.decoding import decode, from_flac, to_flac
from whisper_retrain.data.splits import place
from whisper_retrain.edges.store import read_record
from whisper_retrain.errors import ConflictError
from whisper_retrain.evaluation.transformers_runtime import load_transcriber
from whisper_retrain.history.retrainings import Retraining, latest_retraining
from whisper_retrain.training.forgetting import CHALLENGER, Remembering

WARM = CandidatesConfig(kinds=("cold", "warm"), min_validation_words=0)
ALL_KINDS = CandidatesConfig(kinds=("cold", "warm", "merge", "merge-base"), min_validation_words=0)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Ran:
    """A retraining that ran, as it was right after it."""

    release: ReleaseConfig
    state: State[Any]
    effects: tuple[str, ...]
    trained: set[str]
    """Keys that its trainings left in S3."""


def run(chain: Chain, release: ReleaseConfig, **changes: Any) -> Ran:
    """Retrain, and note what changed."""
    before = set(chain.store.keys("train/"))
    state = chain.run(release, **changes)
    return Ran(release, state, tuple(chain.effects), set(chain.store.keys("train/")) - before)


def closed(chain: Chain, release: ReleaseConfig) -> Retraining:
    """The closing record of the last retraining."""
    found = latest_retraining(chain.store, release)
    assert found is not None
    return found


def events(chain: Chain, release: ReleaseConfig) -> list[str]:
    """What people were told, in order."""
    return [one.event for one in chain.notifications(release)]


def commits(chain: Chain, release: ReleaseConfig) -> int:
    """Commits of the release repo, the Hub's own first one left out."""
    return len(chain.hub.api().list_repo_commits(release.repo)) - 1


def meanwhile(patch: pytest.MonkeyPatch, step: str, happens: Callable[[], object]) -> None:
    """Let something happen where the flow `retrain` comes to one of its steps."""
    work = getattr(flows.retrain, step)

    def later(*arguments: Any) -> Any:
        happens()
        return work(*arguments)

    patch.setattr(flows.retrain, step, later)


def the_machine_goes() -> None:
    raise RuntimeError("the machine went away")


@pytest.fixture(scope="module")
def refused(chain: Chain) -> Ran:
    """A first challenger that is better than the base model, but not by as much as is asked."""
    return run(chain, chain.new_release(), policy=DEMANDING)


@pytest.fixture(scope="module")
def died(chain: Chain) -> Ran:
    """A first champion, published by a retraining that died before its closing record."""
    with pytest.MonkeyPatch.context() as patch:
        meanwhile(patch, "close", the_machine_goes)
        return run(chain, chain.new_release())


@pytest.fixture(scope="module")
def warmed(chain: Chain, died: Ran) -> Ran:
    """The same elsewhere, where later retrainings are to go on from the champion."""
    with pytest.MonkeyPatch.context() as patch:
        meanwhile(patch, "close", the_machine_goes)
        return run(chain, chain.new_release(), candidate_models=WARM)


@pytest.fixture(scope="module")
def rerun(chain: Chain, died: Ran) -> Ran:
    """What died, run again to its end."""
    return run(chain, died.release)


@pytest.fixture(scope="module")
def warm_rerun(chain: Chain, warmed: Ran) -> Ran:
    """The same of what goes on from the champion, which is another one than when it died."""
    return run(chain, warmed.release, candidate_models=WARM)


def test_a_challenger_that_is_too_little_better_is_refused_and_nothing_is_published(
    chain: Chain, refused: Ran
) -> None:
    assert refused.state.name == "Rejected"
    assert refused.effects == ("evidence", "told challenger.rejected", "report", "closed")
    assert refused.trained
    assert not chain.hub.api().repo_exists(refused.release.repo)
    done = closed(chain, refused.release)
    assert done.promotion is None
    assert done.evidence.decision.first_champion
    (told,) = chain.notifications(refused.release)
    assert done.evidence.decision.reasons
    for reason in done.evidence.decision.reasons:
        assert reason in told.body
        assert reason in (refused.state.message or "")
    assert done.report.uri in told.body
    assert chain.store.exists(chain.store.key(done.report.uri))


def test_the_same_again_is_nothing_new_and_nobody_is_told(chain: Chain, refused: Ran) -> None:
    again = run(chain, refused.release, policy=DEMANDING)
    assert again.state.name == "NothingNew"
    assert (again.state.message or "").startswith("nothing has changed since")
    assert again.effects == ()


def test_the_same_decision_in_another_repo_is_told_there_too(chain: Chain, refused: Ran) -> None:
    other = run(chain, chain.new_release(), policy=DEMANDING)
    assert other.state.name == "Rejected"
    assert events(chain, other.release) == ["challenger.rejected"]
    mine, theirs = closed(chain, other.release), closed(chain, refused.release)
    assert mine.evidence.run == theirs.evidence.run
    assert mine.report.uri != theirs.report.uri


def test_general_speech_is_guarded_by_a_second_test_set(chain: Chain, refused: Ran) -> None:
    def rules(release: ReleaseConfig) -> set[str]:
        return {rule.rule for rule in closed(chain, release).evidence.decision.rules}

    folder = write_folder(chain.cache.parent / "general", spoken_rows(12, first=1000))
    (medical,) = chain.dataset.sources
    source = medical.model_copy(update={"name": "general", "location": str(folder)})
    with_guard = run(chain, chain.new_release(), policy=DEMANDING, general_speech=source)
    assert with_guard.state.name == "Rejected"
    assert "general-speech" in rules(with_guard.release)
    assert "general-speech" not in rules(refused.release)


def as_the_base_model_hears(rows: list[dict[str, Any]], chain: Chain) -> list[dict[str, Any]]:
    """The recordings with the base model's transcripts for references: it makes no error there."""
    revision = chain.hub.api().model_info(chain.base.repo).sha
    folder = model_files.fetch_revision(services.hub(), chain.base.repo, revision, chain.cache)
    transcriber = load_transcriber(folder, DECODING, "cpu")
    heard = transcriber.transcribe(
        [from_flac(to_flac(decode(one["path"]).samples)) for one in rows]
    )
    return [one | {"sentence": text.text} for one, text in zip(rows, heard, strict=True)]


def test_a_challenger_that_only_forgets_is_averaged_with_the_base_model_before_it_is_given_up(
    chain: Chain, died: Ran
) -> None:
    rows = spoken_rows(25, first=2000)
    policy = guard_of(chain.dataset.sources[0]).splits
    kind = f"guard-validation-{policy.validation_share:g}"
    voices = sorted({one["speaker_id"] for one in rows}, key=lambda v: place(policy.salt, kind, v))
    asked = [one for one in rows if one["speaker_id"] != voices[0]]
    easy = [one for one in rows if one["speaker_id"] == voices[0]]
    folder = write_folder(chain.cache.parent / "old", easy + as_the_base_model_hears(asked, chain))
    (medical,) = chain.dataset.sources
    source = medical.model_copy(update={"name": "old", "location": str(folder)})

    looks = set(chain.store.keys("gate/cases/"))
    refused = run(chain, chain.new_release(), policy=LENIENT, general_speech=source)
    assert refused.state.name in {"Rejected", "Inconclusive"}
    (key,) = chain.store.keys("gate/forgetting/")
    tried = read_record(chain.store, key, Remembering)
    assert tried
    assert [one.name for one in tried.tried] == [f"remember-base-{n}" for n in (25, 50, 75)]
    assert tried.general_validation != tried.guard_test_set
    assert tried.winner, "all hear the voice that is set aside better than the base model does"
    assert len(set(chain.store.keys("gate/cases/")) - looks) == 2, "one more look, and no second"
    judged = closed(chain, refused.release).evidence
    assert {one.name for one in judged.run.merged_from} == {CHALLENGER, "base"}


def test_fine_tuning_and_the_gate_by_themselves_find_what_was_done(
    chain: Chain, refused: Ran
) -> None:
    done = closed(chain, refused.release).evidence
    base = done.run.base_model
    assert base.repo
    assert base.revision
    again = fine_tuning(done.dataset, base.repo, base.revision, LEARNS, DECODING)
    assert again == done.run
    decided = gate(done.dataset, again, refused.release, None, DECODING, DEMANDING)
    assert decided.challenger == done.challenger
    assert decided.decision.outcome == "reject"


def test_a_better_challenger_is_published_before_anybody_is_told(chain: Chain, died: Ran) -> None:
    (dated,) = set(chain.tags(died.release)) - {"champion"}
    assert died.effects == (
        "evidence",
        "commit",
        "intent",
        f"tag {dated}",
        "tag champion",
        "told model.promoted",
        "promotion",
        "report",
    )
    (told,) = chain.notifications(died.release)
    assert chain.tags(died.release)["champion"] in told.body
    assert dated in told.body
    assert "the base model had" in told.body


def test_the_readmes_lines_use_the_champion(chain: Chain, died: Ran, tmp_path: Path) -> None:
    need("ffmpeg", "with it the pipeline reads files")
    for name, seconds in (("note.wav", 3), ("dictation.wav", 75)):
        (tmp_path / name).write_bytes(encoded(tone(1, seconds)))
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert "your-org/whisper-small-medical" in block
    done = subprocess.run(
        [sys.executable, "-c", block.replace("your-org/whisper-small-medical", died.release.repo)],
        env=os.environ | chain.hub.environment(tmp_path / "hf"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_a_rerun_after_a_death_before_closing_ends_as_the_first_would_have(
    chain: Chain, died: Ran, rerun: Ran
) -> None:
    assert died.state.is_failed()
    assert "retrain" in (died.state.message or "")
    assert rerun.state.name == "Promoted"
    assert rerun.effects == ("evidence", "report", "closed")
    assert commits(chain, died.release) == 1
    assert events(chain, died.release) == ["model.promoted"]
    done = closed(chain, died.release)
    assert done.promotion is not None
    assert done.promotion.revision == chain.tags(died.release)["champion"]


def test_a_rerun_finds_its_evidence_though_the_champion_to_start_from_has_changed(
    chain: Chain, warm_rerun: Ran
) -> None:
    assert warm_rerun.state.name == "Promoted"
    assert warm_rerun.effects == ("evidence", "report", "closed")
    assert not warm_rerun.trained, "nothing is trained from the new champion"
    promotion = closed(chain, warm_rerun.release).promotion
    assert promotion
    assert promotion.revision == chain.tags(warm_rerun.release)["champion"]


def test_the_night_after_a_promotion_brings_nothing_new_though_the_champion_has(
    chain: Chain, warm_rerun: Ran
) -> None:
    assert run(chain, warm_rerun.release, candidate_models=WARM).state.name == "NothingNew"


def test_several_candidates_are_compared_on_the_validation_split_before_any_look(
    chain: Chain, warmed: Ran
) -> None:
    once = run(chain, warmed.release, candidate_models=ALL_KINDS)
    table = Artifact.get("candidates")
    assert table
    names = {row["candidate"].split()[0] for row in json.loads(str(table.data))}
    assert names == {
        "cold", "warm", "merge-cold-warm", "merge-champion-cold", "merge-base-25",
        "merge-base-50", "merge-base-75",
    }  # fmt: skip
    assert once.state.is_completed()
    assert (once.state.name == "Unbeaten") == (once.effects == ()), "no look, and nobody is told"
    assert run(chain, warmed.release, candidate_models=ALL_KINDS).state.name == "NothingNew"


def test_changed_rules_decide_again_and_the_champion_is_no_better_than_itself(
    chain: Chain, rerun: Ran
) -> None:
    first = closed(chain, rerun.release).evidence
    again = run(chain, rerun.release, policy=LENIENT.model_copy(update={"replicates": 2000}))
    assert again.state.name == "Rejected"
    assert again.effects == ("evidence", "told challenger.rejected", "report", "closed")
    evidence = closed(chain, rerun.release).evidence
    assert evidence.run == first.run
    assert not evidence.decision.first_champion
    assert evidence.champion.model.revision == chain.tags(rerun.release)["champion"]
    assert set(evidence.scores) == {"champion", "challenger", "baseline"}
    assert commits(chain, rerun.release) == 1


def test_what_cannot_be_told_is_inconclusive_however_good_it_looks(chain: Chain, died: Ran) -> None:
    unsure = run(chain, chain.new_release(), policy=UNSURE)
    assert unsure.state.name == "Inconclusive"
    assert unsure.effects == ("evidence", "told challenger.rejected", "report", "closed")
    (told,) = chain.notifications(unsure.release)
    assert "inconclusive" in told.subject
    assert "100000 are needed" in told.body
    assert not chain.hub.api().repo_exists(unsure.release.repo)


def test_stages_on_other_machines_are_asked_for_with_what_the_server_takes(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = {"fine-tune": fine_tuning, "gate": gate}
    with get_client(sync_client=True) as client:
        for stage in stages.values():
            client.create_deployment(
                client.create_flow(stage),
                "gpu",
                enforce_parameter_schema=True,
                parameter_openapi_schema=parameter_schema(stage.fn).model_dump_for_openapi(),
            )
        placed = {name: f"{name}/gpu" for name in stages}
        monkeypatch.setenv("WHISPER_RETRAIN_STAGES", json.dumps(placed))
        machines = Machines(monkeypatch, *map(works, stages.values()))
        little = LEARNS.model_copy(update={"max_steps": 4})
        state = chain.run(chain.new_release(), training=little)
        asked = [client.read_flow(one.flow_id).name for one in machines.children]
    assert state.name == "Rejected", state.message
    assert asked == list(stages)


def test_a_promotion_elsewhere_that_was_rolled_back_meanwhile_is_superseded(
    chain: Chain, died: Ran
) -> None:
    release, hub = chain.new_release(), chain.hub.api()
    with pytest.MonkeyPatch.context() as patch:
        meanwhile(patch, "close", the_machine_goes)
        run(chain, release)
    promoted = chain.tags(release)["champion"]
    assert events(chain, release) == ["model.promoted"], "the same decision, published here too"

    by_hand = hub.upload_file(path_or_fileobj=b"x", path_in_repo="NOTES.md", repo_id=release.repo)
    moved = rollback(release, to_revision=str(by_hand.oid), reason="mishears doses")
    assert moved.previous_revision == promoted
    assert chain.tags(release)["champion"] == by_hand.oid
    told = chain.notifications(release)[-1]
    assert told.event == "model.rolled-back"
    assert "mishears doses" in told.body

    again = run(chain, release)
    assert again.state.name == "Superseded"
    assert str(by_hand.oid)[:7] in (again.state.message or "")
    assert events(chain, release) == ["model.promoted", "model.rolled-back"]


def test_a_champion_moved_by_hand_after_the_decision_stops_the_promotion(
    chain: Chain, died: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, hub = chain.new_release(), chain.hub.api()

    def somebody_moves_it() -> None:
        hub.create_repo(release.repo)
        hub.create_tag(release.repo, tag="champion")

    meanwhile(monkeypatch, "promotion", somebody_moves_it)
    moved = run(chain, release)
    assert moved.state.is_failed()
    assert moved.effects == ("evidence",)
    assert list(chain.tags(release)) == ["champion"]
    assert events(chain, release) == []
    with pytest.raises(ConflictError, match="the champion is not the model"):
        moved.state.result()


def test_every_key_that_the_chain_wrote_is_in_the_table_of_the_architecture(
    chain: Chain, refused: Ran, died: Ran
) -> None:
    written = set(chain.store.keys(""))
    assert {key.split("/")[0] for key in written} >= {"refresh", "train", "evaluate", "promotion"}
    assert [key for key in sorted(written) if not rows_of(key)] == []

"""A tuning for real: tones, a small Whisper, S3 and Prefect; killed in each rung, and accepted."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any

import pytest
from prefect.artifacts import Artifact
from prefect.client.schemas.objects import State

import flows.tune
from flows.tune import accept_tuning, tune
from tasks.accepted_settings import follow_accepted
from tests.fixtures.chain import DECODING, LEARNS, LENIENT, Chain
from whisper_retrain.config import BaseModelConfig, ReleaseConfig
from whisper_retrain.errors import DivergedError, InputError, StorageError
from whisper_retrain.history.retrainings import latest_retraining
from whisper_retrain.release.evidence import lineage_of
from whisper_retrain.tuning.budget import TuningBudget
from whisper_retrain.tuning.proposal import Proposal, accept, latest_proposal
from whisper_retrain.tuning.space import SearchSpace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPACE = SearchSpace(
    epochs=(8, 12),
    lowest_rate=100,  # the tones' rate is far above that of the smallest Whisper
    highest_rate=125,
    batch_size=(8,),
    spec_augment=(),
    noise_augment_share=(),
    weight_decay=(),
)
TOO_LOW = 1e-4
"""Of the settings as they are: they learn next to nothing."""
BUDGET = TuningBudget(trials=2, min_validation_words=0)
DEATHS = {
    0: RuntimeError("the machine went away"),
    1: StorageError("S3 could not be reached"),
    -1: RuntimeError("the machine went away"),
}
"""Rung -> what a try of the tuning dies of, after a training of that rung."""


@dataclass(frozen=True)
class Tuned:
    """A tuning that was killed in each rung and went on."""

    release: ReleaseConfig
    states: tuple[State[Any], ...]
    trained: tuple[int, ...]
    """Trainings in S3 after each try."""
    proposal: Proposal


def run_tuning(chain: Chain, release: ReleaseConfig, **changes: Any) -> State[Any]:
    given = {
        "dataset": chain.dataset,
        "release": release,
        "base_model": chain.base,
        "training": LEARNS.model_copy(update={"learning_rate": TOO_LOW, "max_steps": None}),
        "decoding": DECODING,
        "policy": LENIENT,
        "space": SPACE,
        "budget": BUDGET,
    }
    state: State[Any] = tune(return_state=True, **(given | changes))
    return state


def trainings(chain: Chain) -> int:
    return sum(key.endswith("/record.json") for key in chain.store.keys("train/"))


def dies_in(patch: pytest.MonkeyPatch, rung: int, error: Exception) -> None:
    """What a rung's training came to is not stored any more."""
    keep = flows.tune.keep_outcome

    def kept(order: Any, trial: Any, kept_as: int, *rest: Any) -> Any:
        if kept_as == rung:
            raise error
        return keep(order, trial, kept_as, *rest)

    patch.setattr(flows.tune, "keep_outcome", kept)


@pytest.fixture(scope="module")
def tuned(chain: Chain) -> Tuned:
    release, states, trained = chain.new_release(), [], []
    before = trainings(chain)
    for rung, error in DEATHS.items():
        with pytest.MonkeyPatch.context() as patch:
            dies_in(patch, rung, error)
            states.append(run_tuning(chain, release))
            trained.append(trainings(chain) - before)
    states.append(run_tuning(chain, release))
    trained.append(trainings(chain) - before)
    found = latest_proposal(chain.store, release.repo)
    assert found is not None, states[-1].message
    return Tuned(release, tuple(states), tuple(trained), found[1])


def test_killed_in_each_rung_it_goes_on_and_trains_nothing_twice(tuned: Tuned) -> None:
    assert [state.is_failed() for state in tuned.states] == [True, True, True, False]
    assert tuned.trained == (1, 3, 4, 4), "two trials, one survivor, one other seed"


def test_the_proposal_has_all_trials_their_cost_and_the_winner_with_another_seed(
    tuned: Tuned,
) -> None:
    proposal = tuned.proposal
    assert [len(one.wers) for one in proposal.tried] == [1, 2]
    assert proposal.winner == 1
    assert proposal.tried[0].origin == "as now"
    assert proposal.tried[0].learning_rate == pytest.approx(TOO_LOW)
    assert proposal.confirmation is not None
    assert proposal.confirmation.seed == LEARNS.seed + 1
    assert 0 < proposal.spent_s <= BUDGET.seconds
    assert any("another seed" in sentence for sentence in proposal.sentences)


def test_what_was_kept_for_longer_trainings_is_gone(chain: Chain, tuned: Tuned) -> None:
    assert not list(chain.store.keys("trunk/"))


def test_people_see_a_table_a_picture_and_the_cost(tuned: Tuned) -> None:
    table, picture, cost = (
        Artifact.get(key) for key in ("tuning", "tuning-picture", "tuning-cost")
    )
    assert table
    assert picture
    assert cost
    rows = json.loads(str(table.data))
    assert len(rows) == 2
    rungs = {f"WER at {epochs:g} epochs" for epochs in SPACE.epochs}
    assert {"learning rate", "compute-seconds"} | rungs <= {*rows[0]}
    assert tuned.proposal.digest[:12] in (table.description or "")


def test_a_second_tuning_takes_the_trials_that_are_there(chain: Chain, tuned: Tuned) -> None:
    before = trainings(chain)
    again = run_tuning(chain, tuned.release)
    assert again.is_completed(), again.message
    found = latest_proposal(chain.store, tuned.release.repo)
    assert found
    assert found[1].tried == tuned.proposal.tried
    assert trainings(chain) == before


def test_trials_that_diverge_are_counted_and_the_others_go_on_two_at_once_on_two_gpus(
    chain: Chain, tuned: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = threading.Barrier(2, timeout=60)
    train = flows.tune.fine_tuning

    def placed(*_: Any) -> Any:
        def trained(dataset: Any, repo: str, revision: str, config: Any, *rest: Any) -> Any:
            if config.weight_decay:
                at_once.wait()
                raise DivergedError("training diverged", where="step 3")
            return train(dataset, repo, revision, config, *rest)

        return trained

    monkeypatch.setattr(flows.tune, "placed", placed)
    space = SPACE.model_copy(update={"weight_decay": (0.05, 0.1), "epochs": (4.0,)})
    monkeypatch.setattr(flows.tune, "slots", lambda: 2)
    three = BUDGET.model_copy(update={"trials": 3})
    ended = run_tuning(chain, chain.new_release(), space=space, budget=three)
    assert ended.is_completed(), ended.message
    assert "2 of the trials diverged" in (ended.message or "")


def test_too_small_a_validation_split_is_refused_with_the_reason(
    chain: Chain, tuned: Tuned
) -> None:
    ended = run_tuning(chain, chain.new_release(), budget=TuningBudget())
    with pytest.raises(InputError, match="at least 2500 reference words: with fewer, chance"):
        ended.result()


def test_a_budget_under_one_trial_is_refused_once_the_first_has_been_measured(
    chain: Chain, tuned: Tuned
) -> None:
    small = BUDGET.model_copy(update={"seconds": 0.5})
    with pytest.raises(InputError, match="too small for one trial"):
        run_tuning(chain, tuned.release, budget=small).result()


def test_what_a_person_accepts_the_next_retraining_trains_with_and_its_lineage_says_so(
    chain: Chain, tuned: Tuned
) -> None:
    release, proposal = tuned.release, tuned.proposal
    assert proposal.settings
    with pytest.raises(InputError, match="another one"):
        accept_tuning(release, proposal="beef", return_state=True).result()
    accepted: State[Any] = accept_tuning(release, return_state=True)
    assert accepted.name == "Accepted"
    chain.run(release)
    done = latest_retraining(chain.store, release)
    assert done is not None
    newest = latest_proposal(chain.store, release.repo)
    assert newest
    assert done.evidence.run.tuning == newest[1].digest
    assert lineage_of(done.evidence)["tuning"] == done.evidence.run.tuning
    assert done.evidence.run.seed == LEARNS.seed
    withdrawn: State[Any] = accept_tuning(release, withdraw=True, return_state=True)
    assert withdrawn.name == "Withdrawn"


def test_accepting_without_a_proposal_says_what_to_do_first(chain: Chain) -> None:
    with pytest.raises(InputError, match="tune/manual"):
        accept_tuning(chain.new_release(), return_state=True).result()


def test_the_settings_of_another_base_model_are_left_aside(chain: Chain, tuned: Tuned) -> None:
    accept(chain.store, tuned.release.repo, None, tuned.proposal.at)
    assert follow_accepted(LEARNS, chain.base, tuned.release).tuning
    other = BaseModelConfig(repo="other/model")
    assert follow_accepted(LEARNS, other, tuned.release).tuning is None

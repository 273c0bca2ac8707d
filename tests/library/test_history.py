"""Looks are counted once and decisions can be made again: on a real store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.fixtures.evaluation import make_evaluation
from whisper_retrain.cli.gate import gate_app, named_policy
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.jobs import load_evaluation
from whisper_retrain.evaluation.rows import Evaluation, rows_to_parquet
from whisper_retrain.gate.decision import decide
from whisper_retrain.gate.ledger import alpha_of_look
from whisper_retrain.gate.policy import GatePolicy, preset
from whisper_retrain.history.cases import Case, load_cases, replay, save_case
from whisper_retrain.history.looks import YEAR, enter_look

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_years_looks_share_its_alpha() -> None:
    shares = [alpha_of_look(look, 0.05, 52) for look in range(1, 53)]
    assert sum(shares) <= 0.05
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(0.0202, abs=1e-4)
    assert alpha_of_look(53, 0.05, 52) == 0.0


def test_a_pair_of_models_looks_once(s3_store: S3Store) -> None:
    assert enter_look(s3_store, "test", "a", "b", NOW) == 0
    assert enter_look(s3_store, "test", "a", "c", NOW) == 1
    assert enter_look(s3_store, "test", "a", "b", NOW + timedelta(days=1)) == 0  # a retry
    assert enter_look(s3_store, "another", "a", "b", NOW) == 0
    assert enter_look(s3_store, "test", "a", "d", NOW + YEAR + timedelta(hours=1)) == 0


def test_looks_at_the_same_time_are_all_counted(s3_store: S3Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda name: enter_look(s3_store, "busy", "a", name, NOW), "bcdefghi")
    assert sorted(found) == list(range(8))


def stored(store: S3Store, name: str, errors: int) -> Evaluation:
    """An evaluation of 60 utterances with some errors in each, its rows in the store."""
    words = ["my", "cough", "is", "very", "heavy", "and", "i", "have", "mucus"]
    texts = []
    for number in range(60):
        said = [*words, str(number)]
        wrong = [f"{w}x" if place < errors + number % 2 else w for place, w in enumerate(said)]
        texts.append((" ".join(said), " ".join(wrong)))
    speakers = [f"s{number % 5}" for number in range(60)]
    made = make_evaluation(name, texts, speakers=speakers)
    rows = store.write(f"evaluate/{name}.parquet", rows_to_parquet(made.rows))
    return Evaluation(made.report.model_copy(update={"rows": rows}), made.rows)


def archive(store: S3Store, policy: GatePolicy, looks: int = 0) -> Case:
    champion, challenger = stored(store, "champion", 4), stored(store, "challenger", 1)
    decision = decide(champion, challenger, policy, looks=looks)
    case = Case(
        at=NOW,
        champion=champion.report,
        challenger=challenger.report,
        policy=policy,
        decision=decision,
    )
    save_case(store, case)
    return case


def test_a_decision_is_recomputed_exactly_from_stored_rows(s3_store: S3Store) -> None:
    case = archive(s3_store, preset("default"), looks=1)
    assert case.decision.outcome == "promote"
    (found,) = load_cases(s3_store)
    again = replay(found, lambda report: load_evaluation(s3_store, report))
    assert again.identical
    assert not again.changed


def test_another_policy_shows_what_would_have_changed(s3_store: S3Store) -> None:
    case = archive(s3_store, preset("default"))
    again = replay(case, lambda report: load_evaluation(s3_store, report), preset("strict"))
    assert (again.changed, again.decision.outcome) == (True, "inconclusive")


@pytest.mark.usefixtures("s3_environment")
def test_replay_on_the_command_line(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(s3_store, preset("default"))
    monkeypatch.setenv("WHISPER_RETRAIN_STORE", s3_store.location)
    same = CliRunner().invoke(gate_app, ["replay"])
    assert same.exit_code == 0, same.output
    assert "identical" in same.stdout
    other = CliRunner().invoke(gate_app, ["replay", "--policy", "strict", "--json"])
    assert '"now": "inconclusive"' in other.stdout


def test_policies_come_by_name_or_from_yaml(tmp_path: Path) -> None:
    assert named_policy("strict") == preset("strict")
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nalpha: 0.01\n")
    assert named_policy(str(file)).alpha == 0.01
    file.write_text("alhpa: 0.01\n")
    with pytest.raises(InputError, match="alhpa"):
        named_policy(str(file))

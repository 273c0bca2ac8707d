"""Looks are counted once and decisions can be made again: on a real store."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.fixtures.evaluation import make_evaluation
from tests.fixtures.evidence import some_evidence
from whisper_retrain.cli.gate import gate_app, named_policy
from whisper_retrain.edges.store import S3Store, write_record
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.jobs import load_evaluation
from whisper_retrain.evaluation.rows import Evaluation, rows_to_parquet
from whisper_retrain.gate.decision import decide
from whisper_retrain.gate.ledger import alpha_of_look, share_of_look
from whisper_retrain.gate.policy import GatePolicy, preset
from whisper_retrain.history.cases import Case, load_cases, replay, save_case
from whisper_retrain.history.looks import YEAR, Lineage, close_look, enter_look, lineage_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_years_looks_share_its_alpha() -> None:
    shares = [alpha_of_look(look, 0.05, 52) for look in range(1, 53)]
    assert sum(shares) == pytest.approx(0.05)
    assert shares[0] == pytest.approx(0.01)
    assert shares[1:] == pytest.approx([0.04 / 51] * 51)
    assert alpha_of_look(53, 0.05, 52) == 0.0
    assert alpha_of_look(1, 0.05, 1) == 0.05, "one look may spend all of it"


def test_data_that_no_look_has_seen_earns_of_what_the_year_has_left() -> None:
    frozen = share_of_look(10, 52, spent=0.5, unseen=0.0)
    assert frozen == pytest.approx(0.5 / 42)
    assert share_of_look(10, 52, spent=0.5, unseen=0.5) == pytest.approx(0.5 * 0.2 * 0.5)
    assert share_of_look(10, 52, spent=0.5, unseen=1.0) == pytest.approx(0.5 * 0.2)
    assert share_of_look(10, 52, spent=1.0, unseen=1.0) == 0.0
    with pytest.raises(InputError, match="below 0"):
        share_of_look(-1, 52)


def test_a_pair_of_models_looks_once(s3_store: S3Store) -> None:
    def looks(lineage: str, challenger: str, now: datetime = NOW) -> int:
        return enter_look(s3_store, Lineage(lineage), "a", challenger, now).looks

    assert looks("test", "b") == 0
    assert looks("test", "c") == 1
    assert looks("test", "b", NOW + timedelta(days=1)) == 0  # a retry
    assert looks("another", "b") == 0
    assert looks("test", "d", NOW + YEAR + timedelta(hours=1)) == 0


def recordings(first: int, count: int) -> dict[str, int]:
    return {f"{number:064x}"[::-1]: 10 for number in range(first, first + count)}


def test_a_test_set_that_changes_a_little_is_looked_at_again(s3_store: S3Store) -> None:
    """One added recording, or a corrected reference, made every look the first one."""

    def share(challenger: str, words: dict[str, int]) -> float:
        standing = enter_look(s3_store, Lineage("growing", words), "a", challenger, NOW)
        assert standing.share is not None
        return standing.share

    assert share("b", recordings(0, 100)) == pytest.approx(0.2)
    assert share("c", recordings(0, 101)) == pytest.approx(0.8 / 51)
    assert share("d", recordings(1, 100)) == pytest.approx(0.8 / 51), "nothing here is new"
    left = 0.8 - 2 * 0.8 / 51
    assert share("e", recordings(0, 202)) == pytest.approx(left * 0.2 * 0.5), "half of it is new"


def test_a_look_that_found_its_challenger_better_gives_its_alpha_back(s3_store: S3Store) -> None:
    lineage = Lineage("returned")

    def share(challenger: str) -> float | None:
        return enter_look(s3_store, lineage, "a", challenger, NOW).share

    assert share("b") == pytest.approx(0.2)
    close_look(s3_store, lineage, "a", "b", better=True)
    assert share("c") == pytest.approx(1 / 51), "as if nothing had been spent"
    close_look(s3_store, lineage, "a", "c", better=False)
    assert share("d") == pytest.approx((1 - 1 / 51) / 50)
    assert share("e") == pytest.approx((1 - 1 / 51 - (1 - 1 / 51) / 50) / 49), "d is not closed yet"


def test_years_with_gains_promote_no_more_equal_models_than_their_alpha() -> None:
    """Every second challenger is much better and gives its share back; the others are equal."""
    rng, years = np.random.default_rng(1), 20_000
    wrong = np.zeros(years, dtype=bool)
    for year in range(years):
        spent = 0.0
        for look in range(12):
            share = share_of_look(look, 12, spent=spent, unseen=float(look == 0))
            luck = rng.uniform()
            better = look % 2 == 1 or luck < 0.05 * share
            wrong[year] |= better and look % 2 == 0
            spent += 0.0 if better else share
    assert 0.02 < wrong.mean() < 0.05


def test_no_year_spends_more_than_it_has_however_new_the_data(s3_store: S3Store) -> None:
    spent = 0.0
    for week in range(60):
        lineage = Lineage("fresh", recordings(100 * week, 100))
        standing = enter_look(s3_store, lineage, "a", str(week), NOW + timedelta(days=6 * week))
        spent += standing.share or 0.0
    assert spent <= 1


def test_only_looks_that_found_a_challenger_better_spend_of_the_guards_error(
    s3_store: S3Store,
) -> None:
    lineage = Lineage("charged")

    def charged(challenger: str) -> int | None:
        return enter_look(s3_store, lineage, "a", challenger, NOW).charged

    assert charged("b") == 0
    assert charged("c") == 1, "what came of the first is not known yet"
    close_look(s3_store, lineage, "a", "b", better=False)
    close_look(s3_store, lineage, "a", "c", better=True)
    assert charged("d") == 1
    assert charged("c") == 1, "a retry is decided by what it was decided by"


def test_looks_under_the_test_sets_own_digest_are_carried_over(s3_store: S3Store) -> None:
    """As an earlier version counted them; those recordings have been seen."""
    old = [{"champion": "a", "challenger": c, "at": NOW.isoformat(), "earlier": n}
           for n, c in enumerate("bc")]  # fmt: skip
    s3_store.write("gate/looks/7e57.json", json.dumps({"looks": old}).encode())
    lineage = Lineage("root", recordings(0, 10), ["7e56", "7e57"])
    standing = enter_look(s3_store, lineage, "a", "d", NOW + timedelta(days=1))
    assert (standing.looks, standing.charged) == (2, 2)
    assert standing.share is not None
    assert standing.share < 0.02


def test_a_lineage_is_named_by_its_first_revision(s3_store: S3Store) -> None:
    revision = some_evidence().dataset
    first = revision.model_copy(update={"key": "datasets/first", "parent_key": None})
    write_record(s3_store, "datasets/first/record.json", first)
    second = revision.model_copy(
        update={"parent_key": "datasets/first", "test_set_digest": "another"}
    )
    found = lineage_of(s3_store, second, {})
    assert found.name == first.digest
    assert found.test_sets == (first.test_set_digest, "another")


def test_looks_at_the_same_time_are_all_counted(s3_store: S3Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(
            lambda name: enter_look(s3_store, Lineage("busy"), "a", name, NOW).looks, "bcdefghi"
        )
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

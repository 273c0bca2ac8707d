"""When averages with the base model are tried, and which of them is worth another look."""

from __future__ import annotations

import pytest

from whisper_retrain.records import Counts, Decision, RuleOutcome, RuleVerdict
from whisper_retrain.training.candidates import BASE
from whisper_retrain.training.forgetting import (
    CHALLENGER,
    Given,
    Remembering,
    averages,
    choose_average,
    only_forgets,
)


def decision(**outcomes: RuleVerdict) -> Decision:
    """A decision in which these rules said this."""
    rules = [
        RuleOutcome(
            rule=name.replace("_", "-"), outcome=outcome, figure=None, bound=None, reason=name
        )
        for name, outcome in outcomes.items()
    ]
    digest = "0" * 64
    return Decision(
        outcome="reject", champion_report=digest, challenger_report=digest,
        test_set_digest=digest, policy_digest=digest, rules=tuple(rules), reasons=(),
    )  # fmt: skip


def given(name: str, general: int, own: int) -> Given:
    """So many words wrong of a hundred on either split."""

    def wrong(errors: int) -> Counts:
        return Counts(hits=100 - errors, substitutions=errors)

    return Given(name=name, general=wrong(general), own=wrong(own))


def chosen(*tried: Given) -> Remembering:
    return choose_average("a" * 64, "b" * 64, given("champion", general=5, own=20), tried)


@pytest.mark.parametrize(
    ("found", "tried"),
    [
        (decision(improvement="pass", general_speech="fail", mapsswe="info"), True),
        (decision(improvement="pass", general_speech="inconclusive"), True),
        (decision(improvement="pass", general_speech="pass"), False),
        (decision(improvement="inconclusive", general_speech="fail"), False),
        (decision(improvement="pass", general_speech="fail", slices="fail"), False),
    ],
)
def test_averages_are_tried_where_general_speech_alone_stands_in_the_way(
    found: Decision, tried: bool
) -> None:
    assert only_forgets(found) == tried


def test_a_quarter_a_half_and_three_quarters_of_the_base_model_are_mixed_in() -> None:
    shares = [(one.parts[CHALLENGER], one.parts[BASE]) for one in averages()]
    assert shares == [(0.75, 0.25), (0.5, 0.5), (0.25, 0.75)]


def test_of_those_that_forget_nothing_the_one_with_fewest_errors_is_worth_a_look() -> None:
    found = chosen(given("25", general=9, own=8), given("50", 5, 12), given("75", 4, 16))
    assert found.winner == "50"
    assert "12.00%" in found.reason
    assert [one.name for one in found.tried] == ["25", "50", "75"]


@pytest.mark.parametrize(
    "average",
    [given("forgets", general=6, own=8), given("learned nothing", general=4, own=20)],
    ids=lambda one: one.name,
)
def test_an_average_that_forgets_or_has_learned_nothing_costs_no_look(average: Given) -> None:
    assert chosen(average).winner is None

"""The report's parts: alignments, positions of figures, Markdown, transcripts, history."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from rich.text import Text

from tests.fixtures.evaluations import a_comparison
from whisper_retrain.errors import InputError
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.records import Interval, Promotion
from whisper_retrain.release.scores import points_text
from whisper_retrain.report.diffs import MarkedWords, examples, largest, marked, pair_rows
from whisper_retrain.report.figures import Scale, line_chart, scale_over, track, wer_history_svg
from whisper_retrain.report.markdown import decision_markdown, table
from whisper_retrain.report.transcripts import telling_transcripts, terminal_text

EVIDENCE, EVALUATIONS, DIFFERENCES = a_comparison(0.3)
CHAMPION, CHALLENGER = EVALUATIONS["champion"].rows, EVALUATIONS["challenger"].rows


def test_words_are_marked_as_substituted_left_out_and_put_in() -> None:
    assert marked("No pain in the left arm.", "pain in the right arm uh oh well") == [
        MarkedWords("delete", "no", ""),
        MarkedWords("equal", "pain in the", "pain in the"),
        MarkedWords("substitute", "left", "right"),
        MarkedWords("equal", "arm", "arm"),
        MarkedWords("insert", "", "0 well"),
    ]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("", "", []),
        ("", "thank you", [MarkedWords("insert", "", "thank you")]),
        ("I am sick", "", [MarkedWords("delete", "i am sick", "")]),
        ("I'm sick!", "i am sick", [MarkedWords("equal", "i am sick", "i am sick")]),
    ],
)
def test_empty_texts_and_mere_spelling(
    reference: str, hypothesis: str, expected: list[MarkedWords]
) -> None:
    assert marked(reference, hypothesis) == expected


def test_marks_count_as_many_errors_as_the_score() -> None:
    for row in CHAMPION:
        words = marked(row.reference, row.hypothesis)
        errors = sum(
            max(len(word.reference.split()), len(word.hypothesis.split()))
            for word in words
            if word.mark != "equal"
        )
        assert errors == row.words.errors


def test_rows_of_different_utterances_are_refused() -> None:
    with pytest.raises(InputError, match="different utterances"):
        pair_rows(CHAMPION, CHALLENGER[1:])


def test_wins_and_losses_are_real_and_ordered() -> None:
    wins, losses = largest(pair_rows(CHAMPION, CHALLENGER))
    assert [win.difference for win in wins] == sorted(win.difference for win in wins)
    assert max(win.difference for win in wins) < 0
    assert losses
    assert min(loss.difference for loss in losses) > 0
    assert largest(pair_rows(CHAMPION, CHAMPION)) == ([], [])


def test_examples_repeat_no_sentence_and_end_with_the_worst_loss() -> None:
    shown = examples(pair_rows(CHAMPION, CHALLENGER), 5)
    assert len({pair.champion.reference for pair in shown[:-1]}) == 4
    assert shown[-1].difference > 0


def test_round_ticks_and_positions_in_percent() -> None:
    scale = Scale(-0.10, 0.10)
    assert scale.ticks == [-0.10, -0.05, 0.0, 0.05, 0.10]
    assert (scale.position(0.0), scale.position(-1.0), scale.position(1.0)) == (50.0, 0.0, 100.0)
    drawn = track(scale, 0.02, Interval(low=-0.02, high=0.3, confidence=0.95))
    assert (drawn.start, drawn.width, drawn.dot) == (40.0, 60.0, 60.0)
    assert (drawn.cut_left, drawn.cut_right) == (False, True)


@pytest.mark.parametrize("values", [[], [0.0], [0.3, 0.3], [-0.2, -0.1], [float("inf"), 0.1]])
def test_a_scale_holds_zero_and_all_finite_values(values: list[float]) -> None:
    scale = scale_over(values)
    assert scale.low < scale.high
    assert scale.low <= 0 <= scale.high
    assert all(scale.low <= v <= scale.high for v in values if v != float("inf"))
    assert 2 <= len(scale.ticks) <= 7


def test_a_curve_needs_two_points() -> None:
    assert line_chart([(0, 1.0)], label="loss") == ""
    svg = ElementTree.fromstring(line_chart([(0, 2.0), (10, 1.0)], label="a < b", marks=[10]))
    (curve,) = svg.findall("polyline")
    assert curve.get("points", "").split() == ["46.0,24.0", "408.0,107.0"]


def test_markdown_has_the_facts_and_no_transcript() -> None:
    text = decision_markdown(EVIDENCE, DIFFERENCES, "s3://bucket/report.html")
    assert text.startswith("# Promote: the challenger becomes the champion")
    for rule in EVIDENCE.decision.rules:
        assert rule.rule in text
    assert EVIDENCE.decision.digest in text
    assert "Not for clinical use" in text
    assert "`s3://bucket/report.html`" in text
    said = {row.reference for row in CHAMPION} | {row.hypothesis for row in CHALLENGER}
    assert not [sentence for sentence in said if sentence in text]


def test_slices_and_terms_are_those_that_the_gate_judged_by() -> None:
    """Under another guard error, another least slice and a term of the policy's own."""
    policy = GatePolicy(guard_alpha=0.01, min_slice_words=400, own_terms=("symptom: heavy",))
    evidence, _, differences = a_comparison(0.3, policy=policy)
    (rule,) = [one for one in evidence.decision.rules if one.rule == "slices"]
    assert f"of {len(differences.slices)} slices" in rule.reason
    assert rule.interval in [one.interval for one in differences.slices]
    assert {one.interval.confidence for one in differences.slices} == {0.98}
    assert min(one.words for one in differences.slices) >= 400
    assert "heavy" in {one.term for one in differences.terms}
    text = decision_markdown(evidence, differences)
    slices = text[text.index("## Slices") : text.index("## Medical terms")]
    assert slices.count("\n| ") == 2 + 1 + len(differences.slices), "header and the whole test set"
    (improvement,) = [one for one in evidence.decision.rules if one.rule == "improvement"]
    assert points_text(improvement.figure) in slices.splitlines()[4]


def test_a_bar_in_a_cell_cannot_break_a_markdown_table() -> None:
    assert table(["a"], [["x | y\nz"]]).splitlines()[-1] == r"| x \| y z |"


def test_transcripts_of_both_in_a_terminal() -> None:
    shown = telling_transcripts(CHAMPION, CHALLENGER)
    text = Text.from_markup(terminal_text(shown, "champion", "challenger")).plain
    assert len(text.split("\n\n")) == 5
    assert "champion  after the +a pen deck to *me* the abdomen" in text
    assert "challenger  after the appendectomy the abdomen" in text


def champion(day: int, wer: float | None, kind: str = "promotion") -> Promotion:
    return Promotion(
        kind="rollback" if kind == "rollback" else "promotion",
        repo="demo/m",
        revision=f"{day:040x}",
        parent_revision=None,
        tags=("champion",),
        decision_digest=None,
        model_digest="aa",
        at=datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day),
        wer=wer,
        wer_interval=wer and Interval(low=wer * 0.8, high=wer * 1.2, confidence=0.95),
    )


def history(champions: list[Promotion]) -> ElementTree.Element:
    kind, _, data = wer_history_svg(champions).partition(",")
    assert kind == "data:image/svg+xml;base64"
    return ElementTree.fromstring(base64.b64decode(data))


def test_the_history_shows_every_champion_with_its_wer_and_rollbacks_by_name() -> None:
    svg = history([champion(0, 0.06), champion(7, 0.05), champion(9, 0.06, "rollback")])
    texts = [one.text for one in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in {"6.0 %", "5.0 %"}] == ["6.0 %", "5.0 %", "6.0 %"]
    assert "rollback" in texts
    assert len(svg.findall("{http://www.w3.org/2000/svg}circle")) == 3


def test_the_history_of_no_champion_and_of_unmeasured_ones_is_a_picture_too() -> None:
    for champions in ([], [champion(0, None)]):
        texts = [one.text for one in history(champions).iter("{http://www.w3.org/2000/svg}text")]
        assert "no champion yet" in texts

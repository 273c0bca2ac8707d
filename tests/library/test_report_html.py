"""The report is one file that needs nothing else, says the decision first and hides nothing."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from tests.fixtures.evaluations import a_comparison, evaluation, transcripts
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.long_form import DictatedText
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.evaluation.scoring import score_pairs
from whisper_retrain.gate.decision import Differences, judge
from whisper_retrain.gate.measures import model_scores
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.records import Counts, Dictation, MadeUp, ProbeResult
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.release.notifications import NON_CLINICAL
from whisper_retrain.report.html import html_report

Comparison = tuple[Evidence, dict[str, Evaluation], Differences]
VOID = {"meta", "br", "link", "img", "input", "hr", "circle", "line", "polyline"}
FLAC = b"fLaC" + bytes(40)


class Page(HTMLParser):
    """What a page is made of; refuses tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return a_comparison(0.15)


@pytest.fixture(scope="module")
def html(comparison: Comparison) -> str:
    return html_report(*comparison)


def with_texts(texts: list[tuple[str, str, str]]) -> str:
    """The report of (reference, champion's, challenger's) transcripts."""
    evidence, evaluations, _ = a_comparison()
    for role, column in (("champion", 1), ("challenger", 2)):
        model = evaluations[role].report.model
        scores = score_pairs([text[0] for text in texts], [text[column] for text in texts])
        rows = [
            replace(
                row,
                reference=text[0],
                hypothesis=text[column],
                phrase=text[0].lower(),
                **vars(score),
            )
            for row, text, score in zip(
                transcripts(1, 0, len(texts), 3), texts, scores, strict=True
            )
        ]
        evaluations[role] = evaluation(model, rows)
    champion, challenger = evaluations["champion"], evaluations["challenger"]
    found = judge(champion, challenger, GatePolicy())
    values = dict(evidence) | {
        "decision": found.decision, "champion": champion.report, "challenger": challenger.report,
        "scores": {role: model_scores(role, one) for role, one in evaluations.items()},
    }  # fmt: skip
    return html_report(Evidence(**values), evaluations, found.differences)


def test_every_tag_is_closed_and_nothing_comes_from_elsewhere(html: str) -> None:
    page = Page(html)
    for tag, name, value in page.attributes:
        if name in {"src", "href", "srcset", "poster", "action", "data"}:
            assert value.startswith(("#", "data:")), (tag, name, value)
        assert not name.startswith("on"), (tag, name)
    assert "script" not in {tag for tag, _, _ in page.attributes}
    assert not re.search(r"@import|url\(", html)
    assert "default-src 'none'" in html


def test_decision_and_reasons_come_first_and_the_notice_before_and_after(html: str) -> None:
    text = Page(html).text
    assert text.index(NON_CLINICAL) < text.index("The challenger becomes the champion")
    order = ["The challenger becomes the champion", "improvement: WER changed by", "Rules Policy"]
    order += ["Scores Corpus", "Slices Change", "Behaviour Challenger"]
    order += ["Transcripts that", "Lineage Sources"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.endswith(NON_CLINICAL)


@pytest.mark.parametrize(
    ("challenger", "champion", "headline"),
    [
        (0.1, 0.8, "The challenger becomes the champion"),
        (0.8, 0.1, "The challenger is rejected; the champion stays"),
    ],
)
def test_the_headline_says_what_was_decided(
    challenger: float, champion: float, headline: str
) -> None:
    assert headline in Page(html_report(*a_comparison(challenger, champion))).text


def test_every_rule_is_there_with_its_outcome_and_reason(comparison: Comparison, html: str) -> None:
    text = Page(html).text
    for rule in comparison[0].decision.rules:
        assert f"{rule.outcome.upper()} {rule.rule} {' '.join(rule.reason.split())}" in text


def test_the_counts_are_those_of_the_reports(comparison: Comparison, html: str) -> None:
    text = Page(html).text
    for name, report in (
        ("Challenger", comparison[0].challenger),
        ("Previous champion", comparison[0].champion),
    ):
        w = report.words
        line = f"{w.hits} {w.substitutions} {w.deletions} {w.insertions} {w.reference_length}"
        assert f"{name} {line}" in text


def test_learned_terms_are_listed_with_how_often_each_model_heard_them(html: str) -> None:
    text = Page(html).text
    assert re.search(r"Learned \([1-9]", text)
    assert re.search(r"metformin 12 \d+ 1\d", text)


def test_at_most_25_wins_and_losses_are_shown_the_largest_first(html: str) -> None:
    text = Page(html).text
    assert "Largest wins (25)" in text
    gains = [int(a) - int(b) for a, b in re.findall(r"(\d+) → (\d+) errors in", text)]
    wins = [gain for gain in gains if gain > 0]
    assert wins == sorted(wins, reverse=True)


def test_lineage_leads_from_the_sources_to_the_hub_commit(
    comparison: Comparison, html: str
) -> None:
    evidence, text = comparison[0], Page(html).text
    lineage = text[text.index("Lineage Sources") :]
    for digest in (evidence.dataset.digest, evidence.run.digest, evidence.challenger.digest):
        assert digest in lineage
    assert f"Hub commit the one whose message says Decision: {evidence.decision.digest}" in lineage


def test_recordings_are_embedded_only_when_the_caller_gives_them(
    comparison: Comparison, html: str
) -> None:
    assert "<audio" not in html
    assert "The policy allows no recordings" in html
    asked: list[str] = []

    def audio(utterance_id: str) -> bytes:
        asked.append(utterance_id)
        return FLAC

    heard = html_report(*comparison, audio=audio)
    assert f"data:audio/flac;base64,{base64.b64encode(FLAC).decode()}" in heard
    assert heard.count("<audio") >= len(set(asked)) >= 25


def test_bytes_that_are_no_recording_are_refused(
    comparison: Comparison,
) -> None:
    with pytest.raises(InputError, match="FLAC, WAV or Ogg"):
        html_report(*comparison, audio=lambda _: b"\xff\xfbMP3")


def test_transcripts_cannot_inject_anything() -> None:
    attack = "<script>alert(1)</script> \"' onload=x"
    html = with_texts([("a <b> c & d", attack, "a b c d")] * 60)
    assert "<script" not in html
    assert "a &lt;b&gt; c &amp; d" in html
    Page(html)


def test_long_audio_and_what_was_written_on_silence_are_shown_escaped() -> None:
    evidence, evaluations, differences = a_comparison()
    attack = "<script>alert(1)</script>"
    made = MadeUp(probe=3, words=2, loop=False, text=f"thank you {attack}")
    for role, errors, text in (("champion", 1, "no chest pain"), ("challenger", 2, attack)):
        one = evaluations[role]
        changes = {
            "dictations": (a_dictation(errors),),
            "probes": {
                "hum": ProbeResult(utterances=5, hallucinated=1, mean_words=0.4, made_up=(made,))
            },
        }
        heard = DictatedText(id="d0", reference="no chest pain, no", text=text, in_order=True)
        report = one.report.model_copy(update=changes)
        evaluations[role] = replace(one, report=report, dictated=(heard,))
    page = Page(html_report(evidence, evaluations, differences))
    assert "60 s, 1 → 2 errors in 4 words" in page.text
    assert "thank you <script>alert(1)</script>" in page.text  # as text, once it is unescaped
    assert not any(tag == "script" for tag, _, _ in page.attributes)


def a_dictation(errors: int) -> Dictation:
    return Dictation(
        id="d0",
        duration_s=60.0,
        utterances=20,
        words=Counts(hits=4 - errors, deletions=errors),
        longest_deletion=errors,
        repeated=0,
        in_order=True,
    )


def test_empty_hypotheses_and_references_and_a_wer_over_one_are_shown() -> None:
    html = with_texts(
        [("I feel sick", "", "I feel sick")] * 40 + [("", "thank you for watching", "")] * 40
    )
    text = Page(html).text
    assert "(nothing)" in text
    assert "thank you for watching" in text
    html = with_texts([("sick", "I was very sick and tired of it", "sick")] * 300)
    assert re.search(r"7\d\d\.0.%", html), "700 % and no crash"


def test_a_test_set_without_medical_words_says_so() -> None:
    text = Page(with_texts([("we went home", "we went", "we went home")] * 100)).text
    assert "no such words in the test set" in text


def test_one_speaker_and_few_utterances_are_enough_for_a_report() -> None:
    compared = a_comparison(0.1, 0.8, utterances=10, speakers=1, first=True)
    assert "Base model" in Page(html_report(*compared)).text


def test_curves_are_drawn_as_well_formed_svg_and_only_when_measured(
    comparison: Comparison, html: str
) -> None:
    drawn = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(drawn) == 2
    for svg in drawn:
        assert ElementTree.fromstring(svg).get("role") == "img"
    evidence = comparison[0]
    bare = evidence.run.model_copy(update={"curve": ()})
    silent = evidence.model_copy(update={"run": bare})
    assert "No curve was recorded" in html_report(silent, *comparison[1:])

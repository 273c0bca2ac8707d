"""The model card is valid on the Hub, says where the model is from and what it must not be for."""

from __future__ import annotations

import itertools
import json

import pytest
from huggingface_hub import ModelCard

from tests.fixtures.evaluation import make_evaluation
from tests.fixtures.evidence import REVISION, some_evidence
from whisper_retrain.config import ReleaseConfig
from whisper_retrain.errors import InputError, IntegrityError
from whisper_retrain.gate.measures import model_scores
from whisper_retrain.records import Interval, RuleOutcome, SourceRevision
from whisper_retrain.release.card import model_card
from whisper_retrain.release.evidence import Evidence, lineage_bytes

CONFIG = ReleaseConfig(repo="demo/whisper-medical")
FIRST = some_evidence()
LATER = some_evidence(champion_revision="fe" * 20)


def card(evidence: Evidence) -> str:
    return model_card(evidence, CONFIG, "s3://bucket/report.html")


def test_the_front_matter_is_read_back_by_the_hub_client_with_a_model_index() -> None:
    data = ModelCard(card(FIRST)).data
    assert data.model_name == "whisper-medical"
    assert data.base_model == "demo/whisper-tiny.en"
    assert data.datasets == ["demo/speech"]
    assert data.pipeline_tag == "automatic-speech-recognition"
    figures = {result.metric_name: result.metric_value for result in data.eval_results}
    assert figures["WER, normalised (%)"] == 5.0
    assert figures["Medical WER (%)"] == 6.5
    assert set(figures) == {
        "WER, normalised (%)", "WER, raw (%)", "Medical WER (%)", "CER (%)",
    }  # fmt: skip
    assert {result.dataset_revision for result in data.eval_results} == {REVISION}


def test_a_folder_is_not_taken_for_a_hub_dataset() -> None:
    folder = SourceRevision(name="drop", location="data/speech", revision="ab" * 32)
    dataset = FIRST.dataset.model_copy(update={"sources": (folder, *FIRST.dataset.sources)})
    data = ModelCard(card(FIRST.model_copy(update={"dataset": dataset}))).data
    assert data.datasets == ["demo/speech"]
    assert {one.dataset_revision for one in data.eval_results} == {REVISION}
    alone = FIRST.dataset.model_copy(update={"sources": (folder,)})
    data = ModelCard(card(FIRST.model_copy(update={"dataset": alone}))).data
    assert data.datasets is None
    assert {one.dataset_type for one in data.eval_results} == {"private"}


def test_the_hub_gets_no_reason_in_words_which_could_name_utterances_or_speakers() -> None:
    told = RuleOutcome(
        rule="slices", outcome="pass", figure=-0.1, bound=0.03, reason="worst: speaker Ada",
        interval=Interval(low=-0.2, high=0.01, confidence=0.9),
    )  # fmt: skip
    decision = FIRST.decision.model_copy(update={"rules": (told,), "reasons": (told.reason,)})
    text = card(FIRST.model_copy(update={"decision": decision}))
    assert "Ada" not in text
    assert "- slices: −10.0 points, 90 % interval −20.0 to +1.0, bound +3.0 points" in text


def test_the_non_clinical_notice_comes_before_everything_else() -> None:
    text = ModelCard(card(FIRST)).text
    notice = text.index("Not for clinical use")
    assert notice < text.index("How to use it") < text.index("## Scores")


def test_scores_stand_beside_the_previous_champions_and_the_base_models() -> None:
    text = card(LATER)
    assert "| | This model | Previous champion | Base model |" in text
    assert "| WER, normalised | 5.0 % (3.0 to 7.0 %) | 30.0 % (28.0 to 32.0 %) |" in text
    assert "95 % bootstrap intervals" in text
    assert "| Drug | 40 | 87.5 % |" in text


def test_a_first_champion_is_compared_with_the_base_model_only() -> None:
    text = card(FIRST)
    assert "| | This model | Base model |" in text
    assert "Previous champion" not in text


def test_a_test_set_without_medical_words_has_a_dash_and_no_figure() -> None:
    plain = make_evaluation("m", [("we went home", "we went")])
    scores = FIRST.scores | {"challenger": model_scores("challenger", plain)}
    assert scores["challenger"].scores["medical"].figure is None
    text = card(FIRST.model_copy(update={"scores": scores}))
    assert "| Medical WER | – |" in text
    assert "Medical WER (%)" not in text


def test_evidence_of_an_earlier_version_has_no_figures_to_show_and_says_so() -> None:
    older = FIRST.model_copy(update={"scores": {}})
    assert older.digest == Evidence.model_validate_json(older.model_dump_json()).digest
    with pytest.raises(InputError, match=r"stored by an earlier version.*gate measures anew"):
        card(older)


def test_lineage_leads_from_the_decision_back_to_the_dataset() -> None:
    text, lineage = card(FIRST), json.loads(lineage_bytes(FIRST))
    for digest in (
        FIRST.decision.digest, FIRST.challenger.digest, FIRST.run.digest, FIRST.dataset.digest,
    ):  # fmt: skip
        assert digest in text
    assert lineage["decision"]["digest"] == FIRST.decision.digest
    assert lineage["dataset"]["digest"] == FIRST.dataset.digest
    assert lineage["training_run"]["digest"] == FIRST.run.digest
    assert lineage["base_model"]["revision"] == REVISION


def test_card_and_lineage_are_the_same_bytes_on_every_try() -> None:
    assert card(FIRST) == card(some_evidence())
    assert lineage_bytes(FIRST) == lineage_bytes(some_evidence())


def test_the_markdown_has_no_gaps_and_every_table_is_whole() -> None:
    text = card(LATER)
    assert "\n\n\n" not in text
    lines = text.splitlines()
    for above, below in itertools.pairwise(lines):
        if above.startswith("|") and below.startswith("|"):
            assert above.count("|") == below.count("|"), (above, below)


def test_records_of_different_retrainings_are_refused() -> None:
    other = some_evidence(champion_revision="12" * 20)
    with pytest.raises(IntegrityError, match="decision and champion's report"):
        Evidence(**(dict(FIRST) | {"decision": other.decision}))

"""The scores as `evaluate` metrics and on the command line: the same figures everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from whisper_retrain.cli import commands
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.metric import METRICS, compute_metric, metric_path
from whisper_retrain.evaluation.scoring import score_pairs
from whisper_retrain.records import total

REFERENCES = ["I have no chest pain.", "Take metformin 500 mg twice a day.", ""]
HYPOTHESES = ["I have chest pain", "Take met forming 500 mg twice a day.", "thank you"]


def expected(name: str) -> float:
    attribute = {"wer": "words", "raw_wer": "raw", "cer": "characters", "medical_wer": "medical"}
    scores = score_pairs(REFERENCES, HYPOTHESES)
    return total(getattr(found, attribute[name]) for found in scores).error_rate


@pytest.mark.parametrize("name", METRICS)
def test_evaluate_loads_each_metric_by_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import evaluate

    monkeypatch.setenv("HF_EVALUATE_OFFLINE", "1")
    metric = evaluate.load(metric_path(name), cache_dir=str(tmp_path))
    found = metric.compute(predictions=HYPOTHESES, references=REFERENCES)
    assert found[name] == pytest.approx(expected(name))
    assert set(found) == {name, "hits", "substitutions", "deletions", "insertions"}


OWN_METRIC = '''
import datasets
import evaluate


class SaidNothing(evaluate.Metric):
    """Share of hypotheses without a word."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="", citation="",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references):
        return {"said_nothing": sum(not text.split() for text in predictions) / len(predictions)}
'''


def test_score_loads_metric_modules_ours_and_others_by_path(tmp_path: Path) -> None:
    own = tmp_path / "said_nothing.py"
    own.write_text(OWN_METRIC)
    files = [
        write_lines(tmp_path / "refs.jsonl", REFERENCES),
        write_lines(tmp_path / "hyps.jsonl", [*HYPOTHESES[:2], ""]),
    ]
    ours = metric_path("raw_wer")
    command = ["score", *files, "--metric", ours, "--metric", str(own)]
    figures = json.loads(CliRunner().invoke(commands, [*command, "--json"]).stdout)
    assert figures["metrics"][ours]["raw_wer"] == figures["raw_wer"]["rate"]
    assert figures["metrics"][str(own)] == {"said_nothing": pytest.approx(1 / 3)}
    assert f"{own}: said_nothing 0.33" in CliRunner().invoke(commands, command).stdout


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no such metric module"), ("x = (", "does not work on texts")]
)
def test_a_metric_module_that_is_none_is_refused(
    content: str | None, said: str, tmp_path: Path
) -> None:
    module = tmp_path / "module.py"
    if content:
        module.write_text(content)
    with pytest.raises(InputError, match=said):
        compute_metric(module, REFERENCES, HYPOTHESES)


def write_lines(path: Path, texts: list[str]) -> str:
    lines = [json.dumps({"id": str(number), "text": text}) for number, text in enumerate(texts)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_score_prints_the_gates_figures(tmp_path: Path) -> None:
    files = [
        write_lines(tmp_path / "refs.jsonl", REFERENCES),
        write_lines(tmp_path / "hyps.jsonl", HYPOTHESES),
    ]
    printed = CliRunner().invoke(commands, ["score", *files, "--json"])
    assert printed.exit_code == 0
    figures = json.loads(printed.stdout)
    for name in METRICS:
        assert figures[name]["rate"] == pytest.approx(expected(name))
    assert figures["utterances"] == 3
    assert figures["drug_wer"]["reference_length"] == 1
    table = CliRunner().invoke(commands, ["score", *files]).stdout
    assert f"{expected('wer'):.2%}" in table
    assert "not for clinical use" in table

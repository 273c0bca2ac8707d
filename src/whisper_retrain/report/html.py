"""The report of one decision as a single HTML file that needs nothing else.

Decision and reasons first, then what they rest on. It shows transcripts and, only when the caller
passes `audio`, recordings: keep it where the dataset may lie, never on the Hub. Knows no storage.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence

from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.evaluation.scoring import LOST_WORDS
from whisper_retrain.gate.decision import Differences
from whisper_retrain.records import (
    CurvePoint,
    Decision,
    Dictation,
    EvaluationReport,
    Promotion,
    RuleOutcome,
    total,
)
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.release.notifications import NON_CLINICAL
from whisper_retrain.release.scores import METRIC_NAMES, ROLE_NAMES, percent_text, points_text
from whisper_retrain.report.bars import (
    Figure,
    glued,
    rule_figure,
    score_figure,
    slice_confidence,
    slice_figures,
    with_the_whole,
)
from whisper_retrain.report.diffs import (
    TranscriptPair,
    largest,
    learned_and_forgotten,
    pair_rows,
    shown_dictation,
)
from whisper_retrain.report.figures import TEMPLATES, line_chart
from whisper_retrain.templating import render

Audio = Callable[[str], bytes]
"""Utterance id -> the bytes of a FLAC, WAV or Ogg file."""

SHOWN_REASONS = 6
SHOWN_FINDINGS = 60
SHOWN_WRITTEN = 20
CLEAREST = 3
"""Utterances that are shown openly of a rule that stands in the way."""
_AUDIO_TYPES = {b"fLaC": "audio/flac", b"RIFF": "audio/wav", b"OggS": "audio/ogg"}


def html_report(
    evidence: Evidence,
    evaluations: Mapping[str, Evaluation],
    differences: Differences,
    *,
    audio: Audio | None = None,
    promotion: Promotion | None = None,
) -> str:
    """The report; `evaluations` by role as `evaluations_of` gives them.

    Figures, slices and terms are the gate's own; only the transcripts are read from the rows.
    """
    compared = evidence.against
    pairs = pair_rows(evaluations[compared].rows, evaluations["challenger"].rows)
    wins, losses = largest(pairs)
    learned, forgotten = learned_and_forgotten(differences.terms)
    scores, rules = evidence.scores, shown_rules(evidence.decision, pairs)
    heard = [*wins, *losses, *(pair for _, _, named in rules for pair in named)]
    return render(
        TEMPLATES,
        "report.html.jinja",
        evidence=evidence,
        decision=evidence.decision,
        scores=scores,
        compared=compared,
        role_names=ROLE_NAMES,
        metric_names=METRIC_NAMES,
        notice=NON_CLINICAL,
        rules=rules,
        shown_reasons=SHOWN_REASONS,
        clearest=CLEAREST,
        score_figures={metric: score_figure(scores, metric) for metric in METRIC_NAMES},
        slices=slice_figures(with_the_whole(evidence, differences.slices)),
        slice_confidence=slice_confidence(differences.slices),
        findings=differences.findings,
        hidden=differences.hidden,
        shown_findings=SHOWN_FINDINGS,
        learned=learned,
        forgotten=forgotten,
        behaviour=behaviour_rows(evidence.compared),
        written=written_where_nothing_was_said(evaluations["challenger"].report),
        dictation=shown_dictation(evaluations[compared], evaluations["challenger"]),
        change_lists=[("wins", wins), ("losses", losses)],
        players=players(heard, audio),
        charts=curves(evidence.run.curve, evidence.run.best_step),
        promotion=promotion,
        percent=lambda figure: glued(percent_text(figure)),
        points=lambda figure: glued(points_text(figure)),
    )


def shown_rules(
    decision: Decision, pairs: Sequence[TranscriptPair]
) -> list[tuple[RuleOutcome, Figure | None, list[TranscriptPair]]]:
    """Each rule with its figure and the utterances that it names."""
    by_id = {pair.champion.id: pair for pair in pairs}
    return [
        (rule, rule_figure(rule), [by_id[key] for key in rule.utterances if key in by_id])
        for rule in decision.rules
    ]


def behaviour_rows(reports: Mapping[str, EvaluationReport]) -> list[tuple[str, list[str]]]:
    """What is no error rate, model by model."""
    wanted: dict[str, Callable[[EvaluationReport], str]] = {
        "Insertion rate": lambda r: percent_text(
            r.words.insertions / max(r.words.reference_length, 1), 2
        ),
        "Words written per word said": lambda r: f"{r.length_ratio:.3f}",
        "Runaway transcripts": lambda r: str(r.runaways),
        "Repeated 5-word sequences": lambda r: str(r.repetitions),
        "Computing time per audio second": lambda r: f"{r.real_time_factor:.3f} s",
        "Latency, median": lambda r: f"{r.latency_p50_s:.2f} s",
        "Latency, 95th percentile": lambda r: f"{r.latency_p95_s:.2f} s",
    }
    if any(report.dictations for report in reports.values()):
        wanted |= {
            "WER on dictations of a minute or two": _dictated(
                lambda found: percent_text(total(one.words for one in found).error_rate)
            ),
            "Dictations with eight words or more missing in a row": _dictated(
                lambda found: (
                    f"{sum(one.longest_deletion >= LOST_WORDS for one in found)} of {len(found)}"
                )
            ),
        }
    rows = [(name, [text(report) for report in reports.values()]) for name, text in wanted.items()]
    for probe in sorted({name for report in reports.values() for name in report.probes}):
        found = [report.probes.get(probe) for report in reports.values()]
        rows.append(
            (
                f"Text where nothing was said: {probe}",
                [f"{one.hallucinated} of {one.utterances}" if one else "–" for one in found],
            )
        )
    return rows


def written_where_nothing_was_said(report: EvaluationReport) -> list[tuple[str, str]]:
    """Kind of probe and the beginning of what was written, the longest first."""
    made_up = [(kind, one) for kind, found in report.probes.items() for one in found.made_up or ()]
    longest = sorted(made_up, key=lambda pair: (-pair[1].words, pair[0], pair[1].probe))
    return [(kind, one.text) for kind, one in longest[:SHOWN_WRITTEN]]


def _dictated(
    text: Callable[[Sequence[Dictation]], str],
) -> Callable[[EvaluationReport], str]:
    return lambda report: text(report.dictations) if report.dictations else "–"


def curves(curve: Sequence[CurvePoint], best_step: int) -> dict[str, str]:
    """Title -> inline SVG, of what was measured at two steps or more."""
    wanted: dict[str, list[tuple[float, float]]] = {
        "Training loss": [(p.step, p.loss) for p in curve if p.loss is not None],
        "Validation loss": [
            (p.step, p.validation_loss) for p in curve if p.validation_loss is not None
        ],
        "Validation WER": [
            (p.step, 100 * p.validation_wer) for p in curve if p.validation_wer is not None
        ],
    }
    charts = {
        title: line_chart(
            points,
            label=f"{title} by optimizer step",
            unit=" %" if title == "Validation WER" else "",
            marks=[best_step],
        )
        for title, points in wanted.items()
    }
    return {title: chart for title, chart in charts.items() if chart}


def players(pairs: Sequence[TranscriptPair], audio: Audio | None) -> dict[str, str]:
    """Utterance id -> data URI of its recording; empty when no audio may be shown."""
    if audio is None:
        return {}
    return {pair.champion.id: _data_uri(audio(pair.champion.id)) for pair in pairs}


def _data_uri(data: bytes) -> str:
    kind = _AUDIO_TYPES.get(data[:4])
    if kind is None:
        raise InputError(
            "recordings in a report must be FLAC, WAV or Ogg files",
            got=f"{len(data)} bytes that begin with {data[:4]!r}",
            remedy="pass the bytes as they lie in the dataset's shards",
        )
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"

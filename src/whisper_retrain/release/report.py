"""The report of one decision as a single HTML file that needs nothing else.

Decision and reasons first, then what they rest on. It shows transcripts and, only when the caller
passes `audio`, recordings: keep it where the dataset may lie, never on the Hub. Knows no storage.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.records import CurvePoint, EvaluationReport, Interval, Promotion, RuleOutcome
from whisper_retrain.release.diffs import Change, largest, pair_rows, term_changes
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.release.figures import Scale, Track, line_chart, scale_over, track
from whisper_retrain.release.measured import measured
from whisper_retrain.release.notifications import NON_CLINICAL
from whisper_retrain.release.scores import (
    METRIC_NAMES,
    ROLE_NAMES,
    ModelScores,
    interval_text,
    percent_text,
    points_text,
)
from whisper_retrain.release.slices import Slice, slices_of
from whisper_retrain.release.templating import render

Audio = Callable[[str], bytes]
"""Utterance id -> the bytes of a FLAC, WAV or Ogg file."""

_AUDIO_TYPES = {b"fLaC": "audio/flac", b"RIFF": "audio/wav", b"OggS": "audio/ogg"}
CUT_AT = 4.0


@dataclass(frozen=True)
class Bar:
    """One line of a figure: a name, a figure with its interval, and where they are drawn."""

    name: str
    note: str
    text: str
    interval: str
    track: Track
    tone: str


@dataclass(frozen=True)
class Figure:
    """Bars on one scale; in percent from the left, `zero` is no difference, `bound` the rule's."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    zero: float | None = None
    bound: float | None = None


def html_report(
    evidence: Evidence,
    evaluations: Mapping[str, Evaluation],
    *,
    audio: Audio | None = None,
    promotion: Promotion | None = None,
) -> str:
    """The report; `evaluations` by role as `evaluations_of` gives them, the challenger first."""
    compared = "baseline" if evidence.decision.first_champion else "champion"
    changes = pair_rows(evaluations[compared].rows, evaluations["challenger"].rows)
    wins, losses = largest(changes)
    learned, forgotten = term_changes(changes)
    scores = measured(dict(evaluations))
    return render(
        "report.html.jinja",
        evidence=evidence,
        decision=evidence.decision,
        scores=scores,
        compared=compared,
        role_names=ROLE_NAMES,
        metric_names=METRIC_NAMES,
        notice=NON_CLINICAL,
        rules=[(rule, rule_figure(rule)) for rule in evidence.decision.rules],
        score_figures={metric: score_figure(scores, metric) for metric in METRIC_NAMES},
        slices=slice_groups(slices_of(changes)),
        learned=learned,
        forgotten=forgotten,
        behaviour=behaviour_rows(evidence.compared),
        change_lists=[("wins", wins), ("losses", losses)],
        players=players([*wins, *losses], audio),
        charts=curves(evidence.run.curve, evidence.run.best_step),
        promotion=promotion,
        percent=lambda figure: glued(percent_text(figure)),
        points=lambda figure: glued(points_text(figure)),
    )


def rule_figure(rule: RuleOutcome) -> Figure | None:
    """The interval of a difference against zero and the rule's bound; None without an interval."""
    if rule.interval is None or rule.figure is None:
        return None
    ends = [rule.interval.low, rule.interval.high, rule.figure, rule.bound or 0.0]
    scale = scale_over(ends)
    tone = {"pass": "good", "fail": "bad"}.get(rule.outcome, "unsure")
    confidence = f"{100 * rule.interval.confidence:.3g} % interval"
    name = "Challenger minus champion"
    bar = difference_bar(name, confidence, rule.figure, rule.interval, scale, tone)
    bound = scale.position(rule.bound) if rule.bound else None
    return Figure((bar,), _point_ticks(scale), scale.position(0.0), bound)


def score_figure(scores: Mapping[str, ModelScores], metric: str) -> Figure | None:
    """One metric of all models on one scale from zero."""
    known = {role: one.scores[metric] for role, one in scores.items()}
    figures = {role: one.figure for role, one in known.items() if one.figure is not None}
    if not figures:
        return None
    highs = [one.interval.high for one in known.values() if one.interval]
    scale = scale_over([*figures.values(), *highs])
    bars = tuple(
        Bar(
            ROLE_NAMES[role],
            "",
            percent_text(figure),
            interval_text(known[role].interval),
            track(scale, figure, known[role].interval),
            "main" if role == "challenger" else "other",
        )
        for role, figure in figures.items()
    )
    return Figure(bars, tuple((scale.position(t), f"{100 * t:g}") for t in scale.ticks))


def slice_groups(slices: Sequence[Slice]) -> dict[str, Figure]:
    """Group -> forest plot; all groups share one scale, so that they can be compared."""
    whole = slices[0].comparison
    reach = max([abs(whole.interval.low), abs(whole.interval.high), 0.005])
    furthest = max(abs(one.comparison.difference) for one in slices)
    limit = min(max(1.5 * reach, 1.2 * furthest), CUT_AT * reach)
    values = [
        min(max(end, -limit), limit)
        for one in slices
        for end in (one.comparison.interval.low, one.comparison.interval.high)
    ]
    scale = scale_over(values)
    groups: dict[str, list[Bar]] = {}
    for one in slices:
        comparison = one.comparison
        tone = "good" if comparison.interval.high < 0 else "unsure"
        tone = "bad" if comparison.interval.low > 0 else tone
        note = (
            f"n = {one.utterances}, {glued(percent_text(one.wer_before))} → "
            f"{glued(percent_text(one.wer_after))}"
        )
        groups.setdefault(one.group, []).append(
            difference_bar(one.name, note, comparison.difference, comparison.interval, scale, tone)
        )
    return {
        group: Figure(tuple(bars), _point_ticks(scale), scale.position(0.0))
        for group, bars in groups.items()
    }


def glued(text: str) -> str:
    """A figure that never parts from its unit at the end of a line."""
    return text.replace(" ", "\u00a0")


def difference_bar(
    name: str, note: str, figure: float, interval: Interval, scale: Scale, tone: str
) -> Bar:
    """A bar whose text is in percentage points."""
    low, high = points_text(interval.low), points_text(interval.high)
    between = f"{low.removesuffix(' points')} to {high.removesuffix(' points')}"
    return Bar(name, note, points_text(figure), between, track(scale, figure, interval), tone)


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


def players(changes: Sequence[Change], audio: Audio | None) -> dict[str, str]:
    """Utterance id -> data URI of its recording; empty when no audio may be shown."""
    return {} if audio is None else {c.before.id: _data_uri(audio(c.before.id)) for c in changes}


def _data_uri(data: bytes) -> str:
    kind = _AUDIO_TYPES.get(data[:4])
    if kind is None:
        raise InputError(
            "recordings in a report must be FLAC, WAV or Ogg files",
            got=f"{len(data)} bytes that begin with {data[:4]!r}",
            remedy="pass the bytes as they lie in the dataset's shards",
        )
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _point_ticks(scale: Scale) -> tuple[tuple[float, str], ...]:
    return tuple(
        (scale.position(tick), f"{100 * tick:+g}".replace("-", "−").replace("+0", "0"))
        for tick in scale.ticks
    )

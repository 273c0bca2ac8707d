"""The report's facts as Markdown, for places that show no HTML. No transcript is in it.

Knows nothing of where it is shown; Prefect's UI takes tables and lists, no raw HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from whisper_retrain.clinical import SEVERITIES
from whisper_retrain.gate.decision import Differences
from whisper_retrain.gate.slices import SliceComparison
from whisper_retrain.gate.terms import TermChange
from whisper_retrain.records import Decision, ModelScores, RuleOutcome
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.release.notifications import NON_CLINICAL
from whisper_retrain.release.scores import (
    METRIC_NAMES,
    NOT_MEASURED,
    ROLE_NAMES,
    percent_text,
    points_text,
    score_text,
    short,
)
from whisper_retrain.report.bars import with_the_whole
from whisper_retrain.report.diffs import learned_and_forgotten

HEADLINES = {
    "promote": "Promote: the challenger becomes the champion",
    "reject": "Reject: the champion stays",
    "inconclusive": "Inconclusive: not shown to be better, the champion stays",
}
MAX_REASONS, MAX_SLICES, MAX_TERMS, MAX_FINDINGS = 6, 25, 20, 10


def decision_markdown(
    evidence: Evidence,
    differences: Differences,
    report_uri: str | None = None,
    advice: Sequence[str] = (),
) -> str:
    """Decision, reasons, advice, scores, rules, slices, terms and lineage."""
    learned, forgotten = learned_and_forgotten(differences.terms)
    parts = [
        f"# {HEADLINES[evidence.decision.outcome]}",
        *([" ".join(evidence.decision.plain)] if evidence.decision.plain else []),
        _list(shown_reasons(evidence.decision)),
        *advice,
        f"> {NON_CLINICAL}",
        *([f"Report: `{report_uri}`"] if report_uri else []),
        "## Scores",
        score_table(evidence.scores),
        "## Rules",
        rule_table(evidence.decision.rules),
        "## Slices",
        slice_table(with_the_whole(evidence, differences.slices), evidence.against),
        "## What a clinician would notice",
        _clinical(differences),
        "## Medical terms",
        _terms("Learned", learned),
        _terms("Forgotten", forgotten),
        "## Lineage",
        _lineage(evidence),
    ]
    return "\n\n".join(parts) + "\n"


def shown_reasons(decision: Decision) -> list[str]:
    """The first reasons; a promotion has as many as the policy has rules."""
    more = len(decision.reasons) - MAX_REASONS
    rest = [f"and {more} more, see the rules"] if more > 0 else []
    return [*decision.reasons[:MAX_REASONS], *rest]


def score_table(scores: Mapping[str, ModelScores]) -> str:
    """Every model's figures with intervals, and its errors by kind."""
    header = ["Model", *METRIC_NAMES.values(), "S / D / I"]
    rows = []
    for role, one in scores.items():
        words = one.scores["words"].counts
        kinds = f"{words.substitutions} / {words.deletions} / {words.insertions}"
        figures = [score_text(one.scores[metric]) for metric in METRIC_NAMES]
        rows.append([ROLE_NAMES[role], *figures, kinds])
    return table(header, rows)


def rule_table(rules: Iterable[RuleOutcome]) -> str:
    """Every rule as applied."""
    rows = [[f"**{rule.outcome}**", rule.rule, rule.reason] for rule in rules]
    return table(["Outcome", "Rule", "Why"], rows)


def slice_table(slices: Sequence[SliceComparison], compared: str) -> str:
    """The change in WER part by part, the worst first."""
    rows = []
    for one in slices[:MAX_SLICES]:
        low, high = points_text(one.interval.low), points_text(one.interval.high)
        change = f"{points_text(one.difference)} ({low.split()[0]} to {high.split()[0]})"
        figures = [percent_text(one.champion), percent_text(one.challenger), change]
        rows.append([one.name.capitalize(), one.value, str(one.utterances), *figures])
    header = ["Part", "", "Utterances", ROLE_NAMES[compared], "Challenger", "Change"]
    return table(header, rows)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar or line break in a cell cannot break it."""
    lines = [header, [":--"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _clinical(differences: Differences) -> str:
    """The challenger's findings by severity, and the first new ones in words."""
    if differences.hidden is None:
        return "Not looked for: see the rule `safety`."
    new = [one for one in differences.findings if one.new]
    counts = [
        f"{sum(one.severity == severity for one in new)} change {severity}"
        for severity in SEVERITIES
    ]
    said = [f"{one.said} ({one.utterance})" for one in new[:MAX_FINDINGS]]
    hidden = f"WER's normalizer hides {differences.hidden.challenger} of the utterances concerned."
    return "\n\n".join([f"New: {', '.join(counts)}. {hidden}", *([_list(said)] if said else [])])


def _terms(title: str, terms: Sequence[TermChange]) -> str:
    if not terms:
        return f"{title}: none."
    shown = [
        f"{one.term} ({one.champion} → {one.challenger} of {one.occurrences})"
        for one in terms[:MAX_TERMS]
    ]
    more = f", and {len(terms) - MAX_TERMS} more" if len(terms) > MAX_TERMS else ""
    return f"{title} ({len(terms)}): {', '.join(shown)}{more}."


def _lineage(evidence: Evidence) -> str:
    run, dataset = evidence.run, evidence.dataset
    sources = [f"`{one.location}` at `{short(one.revision, 12)}`" for one in dataset.sources]
    base, before = run.base_model, run.started_from
    merged = ", ".join(f"{one.name} {one.share:.0%}" for one in run.merged_from)
    return _list(
        [
            f"Sources: {', '.join(sources) or NOT_MEASURED}",
            f"Dataset revision `{short(dataset.digest, 12)}`",
            f"Base model `{base.repo or base.name}` at `{short(base.revision, 12)}`",
            *([f"Went on from the champion `{short(before.revision, 12)}`"] if before else []),
            f"Training run `{short(run.digest, 12)}`, step {run.best_step} of {run.steps}",
            *([f"Average of {merged}"] if merged else []),
            f"Model files `{short(run.checkpoint.model_digest, 12)}`",
            f"Test set `{short(evidence.decision.test_set_digest, 12)}`",
            f"Decision `{evidence.decision.digest}`",
        ]
    )

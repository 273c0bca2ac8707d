"""The model card (README.md of the Hub commit) from records; the same bytes on every try.

Knows nothing of the Hub itself; `huggingface_hub` only gives the front matter its form.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from whisper_retrain.config import REPO_PATTERN, ReleaseConfig
from whisper_retrain.records import ModelScores, RuleOutcome, SourceRevision
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.release.scores import (
    METRIC_NAMES,
    NOT_MEASURED,
    ROLE_NAMES,
    percent_text,
    points_text,
    score_text,
)
from whisper_retrain.release.verify import Verification
from whisper_retrain.templating import render

TEMPLATES = Path(__file__).parent / "templates"
TASK = "automatic-speech-recognition"
COMMIT = r"[0-9a-f]{40}"


def model_card(
    evidence: Evidence,
    config: ReleaseConfig,
    report_uri: str | None = None,
    verification: Verification | None = None,
) -> str:
    """Markdown with front matter (model-index included)."""
    values = _values(evidence, config)
    values |= {"report_uri": report_uri, "verification": verification}
    text = re.sub(r"\n{3,}", "\n\n", render(TEMPLATES, "model_card.md.jinja", **values))
    return f"---\n{_front_matter(evidence, config)}\n---\n\n{text}"


def _front_matter(evidence: Evidence, config: ReleaseConfig) -> str:
    from huggingface_hub import ModelCardData

    base = evidence.run.base_model
    sources = _hub_sources(evidence)
    data = ModelCardData(
        base_model=base.repo,
        datasets=[source.location for source in sources] or None,
        language="en" if (base.repo or base.name).endswith(".en") else None,
        library_name="transformers",
        metrics=["wer", "cer"],
        model_name=config.repo.split("/")[-1],
        pipeline_tag=TASK,
        tags=["whisper", "medical", "not-for-clinical-use"],
        eval_results=_eval_results(evidence, evidence.scores_of("challenger"), sources),
    )
    return str(data.to_yaml(line_break="\n"))


def _hub_sources(evidence: Evidence) -> list[SourceRevision]:
    """Sources that are Hub repos at a commit; folders and buckets may have names like repos."""
    return [
        source
        for source in evidence.dataset.sources
        if re.match(REPO_PATTERN, source.location) and re.fullmatch(COMMIT, source.revision)
    ]


def _eval_results(
    evidence: Evidence, scores: ModelScores, sources: list[SourceRevision]
) -> list[Any]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=TASK,
            task_name="Automatic speech recognition",
            dataset_type=sources[0].location if sources else "private",
            dataset_name=f"test set {evidence.decision.test_set_digest[:12]}",
            dataset_split="test",
            dataset_revision=sources[0].revision if sources else None,
            metric_type="cer" if metric == "characters" else "wer",
            metric_name=f"{METRIC_NAMES[metric]} (%)",
            metric_value=round(100 * figure, 2),
        )
        for metric in METRIC_NAMES
        if (figure := scores.scores[metric].figure) is not None
    ]


def _values(evidence: Evidence, config: ReleaseConfig) -> dict[str, Any]:
    base, report, scores = evidence.run.base_model, evidence.challenger, evidence.scores
    interval = evidence.scores_of("challenger").scores["words"].interval
    return {
        "name": config.repo.split("/")[-1],
        "repo": config.repo,
        "tag": config.champion_tag,
        "base_model": base.repo or base.name,
        "base_revision": base.revision,
        "first_champion": evidence.decision.first_champion,
        "utterances": report.utterances,
        "audio_s": report.audio_s,
        "test_set": report.test_set_digest,
        "normalizer": report.normalizer_version,
        "has_intervals": interval is not None,
        "confidence": interval.confidence if interval else None,
        "columns": ["This model", *(ROLE_NAMES[role] for role in list(scores)[1:])],
        "rows": [
            [name, *(score_text(one.scores[metric]) for one in scores.values())]
            for metric, name in METRIC_NAMES.items()
        ],
        "tiers": _tiers(evidence),
        "rules": [_rule(rule) for rule in evidence.decision.rules if rule.interval],
        "passed": [rule.rule for rule in evidence.decision.rules if rule.outcome == "pass"],
        "train": evidence.dataset.splits["train"],
        "sources": evidence.dataset.sources,
        "steps": evidence.run.steps,
        "best_step": evidence.run.best_step,
        "validation_wer": percent_text(evidence.run.validation_wer),
        "lineage": _lineage_rows(evidence),
    }


def _rule(rule: RuleOutcome) -> str:
    """A rule in figures only: reasons name utterances and speakers, which stay off the Hub."""
    text = f"{rule.rule}: {points_text(rule.figure)}"
    if rule.interval:
        low, high = (points_text(end).split()[0] for end in (rule.interval.low, rule.interval.high))
        text += f", {100 * rule.interval.confidence:.3g} % interval {low} to {high}"
    return text + (f", bound {points_text(rule.bound)}" if rule.bound is not None else "")


def _tiers(evidence: Evidence) -> list[list[str]]:
    """Recall per tier of the lexicon, for every compared model."""
    reports = list(evidence.compared.values())
    return [
        [
            tier.capitalize(),
            str(counts.reference_length),
            *(
                percent_text(report.tiers[tier].recall) if tier in report.tiers else NOT_MEASURED
                for report in reports
            ),
        ]
        for tier, counts in evidence.challenger.tiers.items()
        if counts.reference_length
    ]


def _lineage_rows(evidence: Evidence) -> list[tuple[str, str]]:
    before = evidence.run.started_from
    ancestor = (before.revision or before.model_digest) if before else ""
    merged = ", ".join(f"{one.share:.0%} {one.model_digest}" for one in evidence.run.merged_from)
    return [
        *([("Went on from the champion", ancestor)] if ancestor else []),
        *([("Average of", merged)] if merged else []),
        ("Dataset revision", evidence.dataset.digest),
        ("Training run", evidence.run.digest),
        ("Model files", evidence.run.checkpoint.model_digest),
        ("Test set", evidence.decision.test_set_digest),
        ("Evaluation report", evidence.challenger.digest),
        ("Policy", evidence.decision.policy_digest),
        ("Decision", evidence.decision.digest),
        ("Code", evidence.run.code_revision),
    ]

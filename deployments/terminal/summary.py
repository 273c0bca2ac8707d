"""What is printed at the end, and `.local/last-run.json`: the same facts for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import FlowRun
from rich.console import Console
from rich.table import Table

from whisper_retrain.edges.hub import HubClient
from whisper_retrain.edges.store import S3Store
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.history.retrainings import Retraining
from whisper_retrain.records import Artifact, ModelScores
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.release.notifications import NON_CLINICAL
from whisper_retrain.release.scores import METRIC_NAMES, ROLE_NAMES, score_text
from whisper_retrain.report.transcripts import LEGEND, telling_transcripts, terminal_text
from whisper_retrain.whole import write_whole

UNDECIDED = ("NothingNew", "Unbeaten")
"""States of a retraining that ended before the gate."""


def last_run_facts(
    run: FlowRun, subflows: list[FlowRun], retraining: Retraining, hub: HubClient, peak_bytes: int
) -> dict[str, Any]:
    """The facts of `.local/last-run.json`; WERs are fractions.

    A run that found nothing new decided nothing: the rest then tells of the last that did.
    """
    decided = run.state_name not in UNDECIDED
    evidence = retraining.evidence
    dataset = evidence.dataset
    repo = retraining.request.release_repo
    return {
        "flow_run": {"id": str(run.id), "name": run.name, "state": run.state_name},
        "decision": evidence.decision.outcome if decided else None,
        "reasons": list(evidence.decision.reasons)
        if decided
        else [run.state and run.state.message],
        "wer": {
            role: {
                "raw": report.raw.error_rate,
                "normalised": report.words.error_rate,
                "medical": report.medical.error_rate,
                "cer": report.characters.error_rate,
            }
            for role, report in evidence.compared.items()
        },
        "utterances": {name: split.utterances for name, split in dataset.splits.items()},
        "quarantined": dataset.quarantined,
        "hub": {
            "repo": repo,
            "revision": retraining.promotion.revision if retraining.promotion else None,
            "tags": hub.tags(repo),
        },
        "artifacts": {
            "report": retraining.report.uri,
            "manifest": dataset.manifest.uri,
            "quarantine": dataset.quarantine.uri,
            "rows": {role: report.rows.uri for role, report in evidence.compared.items()},
            "checkpoint": {n: a.uri for n, a in evidence.run.checkpoint.files.items()},
        },
        "seconds": {"retrain": _seconds(run)} | {one.name: _seconds(one) for one in subflows},
        "peak_rss_bytes": peak_bytes,
    }


def print_summary(
    console: Console, evidence: Evidence, evaluations: Mapping[str, Evaluation]
) -> None:
    """Scores, decision, five transcripts, before and after; evaluations by their role."""
    console.print(_score_table(evidence.scores))
    console.print(f"\n[bold]Decision: {evidence.decision.outcome}[/bold]")
    for reason in evidence.decision.reasons:
        console.print(f"  • {reason}", markup=False, highlight=False)
    against = evidence.against
    console.print(f"\n[bold]Before and after[/bold]: {LEGEND}\n{NON_CLINICAL}\n")
    pairs = telling_transcripts(evaluations[against].rows, evaluations["challenger"].rows)
    console.print(terminal_text(pairs, ROLE_NAMES[against].lower()))


def print_links(console: Console, links: dict[str, str]) -> None:
    """Name and address, one a line, unbroken so that they can be clicked."""
    for name, url in links.items():
        console.print(f"  {name:<22} {url}", markup=False, highlight=False, soft_wrap=True)


def fetch(store: S3Store, report: Artifact, target: Path) -> Path:
    """A copy of the report beside the stack's other files, to open in a browser."""
    return store.download(report, target)


def write_last_run(local_dir: Path, facts: dict[str, Any]) -> Path:
    """Write `.local/last-run.json`, whole or not at all."""
    path = local_dir / "last-run.json"
    write_whole(path, json.dumps(facts, indent=2, sort_keys=True) + "\n")
    return path


def _score_table(scores: dict[str, ModelScores]) -> Table:
    table = Table(title="Frozen test set: error rates and 95 % intervals", title_justify="left")
    table.add_column("model")
    for name in METRIC_NAMES.values():
        table.add_column(name, justify="right")
    for role in sorted(scores, key=["baseline", "champion", "challenger"].index):
        cells = [score_text(scores[role].scores[metric]) for metric in METRIC_NAMES]
        table.add_row(ROLE_NAMES[role], *cells)
    return table


def _seconds(run: FlowRun) -> float:
    return round(run.total_run_time.total_seconds(), 1)

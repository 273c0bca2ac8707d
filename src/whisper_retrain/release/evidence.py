"""Everything that was found out about one challenger, as one value that fits together.

Model card, report, notification and promotion all speak of the same records; whoever builds an
`Evidence` from records of different chains is told which link is broken. Knows no storage, Hub or
model.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from whisper_retrain.config import DecodingConfig, ReleaseConfig
from whisper_retrain.errors import InputError, IntegrityError
from whisper_retrain.records import (
    Artifact,
    DatasetRevision,
    Decision,
    EvaluationReport,
    Job,
    ModelScores,
    Record,
    TrainingRun,
    canonical_json,
)

MEASURE_AGAIN = "run the retraining again: the gate measures anew, and nothing is trained twice"


class Evidence(Record):
    """A decision with the records it rests on, and the figures that all who speak of it show."""

    decision: Decision
    """What the gate said."""
    challenger: EvaluationReport
    """Its report."""
    champion: EvaluationReport
    """Of the model that the challenger was compared with: the base model's for a first champion."""
    baseline: EvaluationReport | None = None
    """Of the base model, for reading, where it is not the champion."""
    run: TrainingRun
    """The training that made the challenger."""
    dataset: DatasetRevision
    """The revision that it was trained and judged on."""
    scores: dict[str, ModelScores] = Field(default_factory=dict)
    """Role -> figures with intervals, the challenger first; an earlier version kept none."""
    differences: Artifact | None = None
    """The gate's slices and terms: a `Differences`."""

    added: ClassVar[frozenset[str]] = frozenset({"scores", "differences"})

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        links = {
            "decision and challenger's report": (
                self.decision.challenger_report,
                self.challenger.digest,
            ),
            "decision and champion's report": (self.decision.champion_report, self.champion.digest),
            "decision and test set": (
                self.decision.test_set_digest,
                self.challenger.test_set_digest,
            ),
            "challenger's report and training run's checkpoint": (
                self.challenger.model.model_digest,
                self.run.checkpoint.model_digest,
            ),
            "training run and dataset": (self.run.dataset_digest, self.dataset.digest),
        }
        for link, (expected, got) in links.items():
            if expected != got:
                raise IntegrityError(
                    f"records do not belong together: {link}",
                    expected=expected,
                    got=got,
                    remedy="pass the records of one and the same retraining",
                )
        return self

    @property
    def against(self) -> str:
        """The role that the challenger was compared with."""
        return "baseline" if self.decision.first_champion else "champion"

    def scores_of(self, role: str) -> ModelScores:
        """The figures of a role; InputError where an earlier version kept none."""
        if role not in self.scores:
            raise InputError(
                "this evidence was stored by an earlier version, without the models' figures",
                where=f"decision {self.decision.digest}, {role}",
                remedy=MEASURE_AGAIN,
            )
        return self.scores[role]

    @property
    def compared(self) -> dict[str, EvaluationReport]:
        """Role -> report, the challenger first; the base model once only."""
        if self.decision.first_champion:
            return {"challenger": self.challenger, "baseline": self.champion}
        reports = {"challenger": self.challenger, "champion": self.champion}
        return reports | ({"baseline": self.baseline} if self.baseline else {})


class ReleaseJob(Job):
    """What is done about a decision in one place, which is a repo and its champion tag."""

    stage: ClassVar[str] = "promotion"
    version: ClassVar[str] = "v1"

    evidence: Evidence
    """The decision with what it rests on."""
    release: ReleaseConfig
    """The repo and its champion tag."""
    decoding: DecodingConfig = DecodingConfig()
    """As the gate decoded; part of the decision already."""

    @property
    def inputs(self) -> dict[str, Any]:
        """The same decision published in two repos, or under two tags, is two promotions."""
        return {
            "decision": self.evidence.decision.digest,
            "repo": self.release.repo,
            "champion_tag": self.release.champion_tag,
        }


def report_key(job: ReleaseJob) -> str:
    """Where the report of a decision lies in S3; known before the report is written."""
    return f"reports/v1/{job.digest}/report.html"


def lineage_of(evidence: Evidence) -> dict[str, object]:
    """What a Hub commit says of where it came from: digests and revisions, backwards.

    Without any time, so that a second try writes the same bytes.
    """
    base, ancestor = evidence.run.base_model, evidence.run.started_from
    merged = evidence.run.merged_from
    return {
        "format": "whisper-retrain/lineage/v1",
        "decision": {"digest": evidence.decision.digest, "outcome": evidence.decision.outcome},
        "policy": {"digest": evidence.decision.policy_digest},
        "evaluation": {
            role: {
                "digest": report.digest,
                "model_digest": report.model.model_digest,
                "repo": report.model.repo,
                "revision": report.model.revision,
            }
            for role, report in evidence.compared.items()
        },
        "test_set": {"digest": evidence.decision.test_set_digest},
        "training_run": {
            "digest": evidence.run.digest,
            "config_digest": evidence.run.config_digest,
            "code_revision": evidence.run.code_revision,
            "seed": evidence.run.seed,
        },
        "base_model": {
            "repo": base.repo or base.name,
            "revision": base.revision,
            "model_digest": base.model_digest,
        },
        **({"started_from": ancestor.model_dump(exclude={"name"})} if ancestor else {}),
        **({"merged_from": [one.model_dump() for one in merged]} if merged else {}),
        **({"tuning": evidence.run.tuning} if evidence.run.tuning else {}),
        "dataset": {
            "digest": evidence.dataset.digest,
            "manifest_digest": evidence.dataset.manifest_digest,
            "sources": [source.model_dump() for source in evidence.dataset.sources],
        },
        "model_digest": evidence.run.checkpoint.model_digest,
    }


def lineage_bytes(evidence: Evidence) -> bytes:
    """The canonical JSON of `lineage_of`, as it lies in the Hub commit."""
    return canonical_json(lineage_of(evidence)) + b"\n"

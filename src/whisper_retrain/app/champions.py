"""How the champions came about: promotions, rollbacks and rejections, and what each rests on.

Reads records only; what is shown of them is decided by the pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whisper_retrain.config import ReleaseConfig
from whisper_retrain.data.latest import revisions_up_to
from whisper_retrain.data.manifest import load_manifest
from whisper_retrain.edges.hub import Hub
from whisper_retrain.edges.store import ObjectStore
from whisper_retrain.history.retrainings import Retraining, finished_retrainings
from whisper_retrain.records import DatasetRevision, Promotion
from whisper_retrain.release.evidence import Evidence
from whisper_retrain.release.transaction import champions

CARD = "README.md"


@dataclass(frozen=True)
class History:
    """Everything that happened to one release repo."""

    promotions: tuple[Promotion, ...]
    """Promotions and rollbacks, the newest first."""
    retrainings: tuple[Retraining, ...]
    """Finished retrainings, the newest first."""

    @property
    def turned_down(self) -> tuple[Retraining, ...]:
        """Retrainings whose challenger did not become champion."""
        return tuple(one for one in self.retrainings if one.evidence.decision.outcome != "promote")

    def evidence(self, decision_digest: str | None) -> Evidence | None:
        """What a decision rests on."""
        found = self.retraining(decision_digest)
        return found.evidence if found else None

    def retraining(self, decision_digest: str | None) -> Retraining | None:
        """The retraining that ended in a decision."""
        found = (one for one in self.retrainings if one.evidence.decision.digest == decision_digest)
        return next(found, None)

    def champion(self, revision: str) -> Promotion | None:
        """The newest promotion or rollback to a revision."""
        return next((one for one in self.promotions if one.revision == revision), None)


def read_history(store: ObjectStore, config: ReleaseConfig) -> History:
    """All records of a release repo and its champion tag."""
    return History(
        promotions=tuple(reversed(champions(store, config))),
        retrainings=tuple(finished_retrainings(store, config)),
    )


def lineage(store: ObjectStore, evidence: Evidence) -> list[DatasetRevision]:
    """The dataset revisions that a model grew from, the newest first."""
    return revisions_up_to(store, evidence.dataset)[::-1]


def champions_that_heard(
    store: ObjectStore, history: History, audio_sha256: str, cache_dir: Path
) -> list[Promotion]:
    """Champions whose training data hold a recording, by the digest of its audio."""
    found = []
    for promotion in history.promotions:
        evidence = history.evidence(promotion.decision_digest)
        if promotion.kind != "promotion" or evidence is None:
            continue
        rows = load_manifest(store, evidence.dataset, cache_dir, vault=True)
        if any(row.audio_sha256 == audio_sha256 and row.split == "train" for row in rows):
            found.append(promotion)
    return found


def read_report(store: ObjectStore, retraining: Retraining) -> bytes | None:
    """The HTML report of a retraining; None when it was removed."""
    found = store.read_versioned(store.key(retraining.report.uri))
    return found[0] if found else None


def read_card(hub: Hub, promotion: Promotion, cache_dir: Path) -> str:
    """The model card of a champion, in Markdown without its front matter; fetched once."""
    folder = cache_dir / "cards" / promotion.repo.replace("/", "--") / promotion.revision
    if not (folder / CARD).is_file():
        hub.download(promotion.repo, promotion.revision, folder, [CARD])
    text = (folder / CARD).read_text("utf-8")
    if text.startswith("---\n"):
        text = text.split("\n---\n", 1)[-1]
    return text

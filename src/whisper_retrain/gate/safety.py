"""What a clinician would notice in one model's transcripts and not in the other's; pure.

Findings are the clinical view's, which reads the texts as they were said and written. WER counts
"no chest pain" heard as "chest pain" as one wrong word in three; here it is the opposite diagnosis.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whisper_retrain.clinical import (
    KINDS,
    SEVERITIES,
    Finding,
    FindingKind,
    Names,
    Severity,
    at_risk,
    find_harm,
)
from whisper_retrain.evaluation.rows import Row
from whisper_retrain.records import Pair, Record


class SafetyFinding(Record):
    """One finding in the challenger's transcript of an utterance."""

    utterance: str
    """Id of the utterance."""
    kind: FindingKind
    """Of which kind."""
    severity: Severity
    """How grave, by the policy's table."""
    said: str
    """The finding as a person would say it."""
    new: bool
    """Whether the champion's transcript has no finding of this kind."""


@dataclass(frozen=True)
class SafetyChange:
    """One kind of finding under both models."""

    kind: FindingKind
    """Which."""
    severity: Severity
    """How grave, by the policy's table."""
    at_risk: int
    """Utterances whose reference says something of this kind."""
    new: tuple[str, ...]
    """Ids of utterances with such a finding under the challenger alone."""
    fixed: tuple[str, ...]
    """Ids of utterances with such a finding under the champion alone."""
    champion: int
    """Utterances with such a finding under the champion."""
    challenger: int
    """Utterances with such a finding under the challenger."""


@dataclass(frozen=True)
class Safety:
    """All findings of a comparison."""

    changes: tuple[SafetyChange, ...]
    """By kind, in the order of KINDS."""
    findings: tuple[SafetyFinding, ...]
    """The challenger's: the gravest first, new ones before those that the champion has too."""
    hidden: Pair[int]
    """Utterances with findings whose normalised texts are the same: WER does not see them."""


Found = dict[str, tuple[Finding, ...]]
"""Id of an utterance -> its findings."""


def compare_safety(
    champion: Sequence[Row],
    challenger: Sequence[Row],
    names: Names,
    severities: Mapping[FindingKind, Severity],
) -> Safety:
    """What the challenger newly gets wrong and what it puts right, kind by kind.

    Both sides hold the same utterances.
    """
    found: Pair[Found] = Pair(
        champion=find_all(champion, names), challenger=find_all(challenger, names)
    )
    risks: dict[FindingKind, int] = defaultdict(int)
    for row in champion:
        for kind in at_risk(row.reference, names):
            risks[kind] += 1
    changes = [_change(kind, found, risks[kind], severities[kind]) for kind in KINDS]
    hidden: Pair[int] = Pair(
        champion=_hidden(champion, found.champion),
        challenger=_hidden(challenger, found.challenger),
    )
    return Safety(tuple(changes), _told(found, severities), hidden)


def find_all(rows: Sequence[Row], names: Names) -> Found:
    """The findings of all transcripts that have any."""
    found = {row.id: find_harm(row.reference, row.hypothesis, names) for row in rows}
    return {key: findings for key, findings in found.items() if findings}


def _change(
    kind: FindingKind, found: Pair[Found], at_risk: int, severity: Severity
) -> SafetyChange:
    champion = _with_kind(found.champion, kind)
    challenger = _with_kind(found.challenger, kind)
    return SafetyChange(
        kind=kind,
        severity=severity,
        at_risk=at_risk,
        new=tuple(sorted(challenger - champion)),
        fixed=tuple(sorted(champion - challenger)),
        champion=len(champion),
        challenger=len(challenger),
    )


def _with_kind(found: Found, kind: FindingKind) -> set[str]:
    return {key for key, findings in found.items() if any(one.kind == kind for one in findings)}


def _hidden(rows: Sequence[Row], found: Found) -> int:
    return sum(row.id in found and not row.words.errors for row in rows)


def _told(
    found: Pair[Found], severities: Mapping[FindingKind, Severity]
) -> tuple[SafetyFinding, ...]:
    told = [
        SafetyFinding(
            utterance=key,
            kind=one.kind,
            severity=severities[one.kind],
            said=one.said(),
            new=all(one.kind != other.kind for other in found.champion.get(key, ())),
        )
        for key, findings in found.challenger.items()
        for one in findings
    ]
    return tuple(
        sorted(
            told,
            key=lambda one: (
                SEVERITIES.index(one.severity),
                not one.new,
                KINDS.index(one.kind),
                one.utterance,
            ),
        )
    )

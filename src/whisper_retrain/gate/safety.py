"""What a clinician would notice in one model's transcripts and not in the other's; pure.

Findings are the clinical view's, which reads the texts as they were said and written. WER counts
"no chest pain" heard as "chest pain" as one wrong word in three; here it is the opposite diagnosis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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
from whisper_retrain.gate.measures import block_views
from whisper_retrain.gate.paired import Changes
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
    """One kind of finding under both models, or all kinds that decide together."""

    kind: FindingKind | None
    """Which; None: all that decide, each utterance counted once."""
    severity: Severity
    """How grave, by the policy's table; of all together the gravest."""
    at_risk: int
    """Utterances whose reference says something of this kind."""
    new: tuple[str, ...]
    """Ids of utterances with such a finding under the challenger alone, the clearest first."""
    fixed: tuple[str, ...]
    """Ids of utterances with such a finding under the champion alone."""
    champion: int
    """Utterances with such a finding under the champion."""
    challenger: int
    """Utterances with such a finding under the challenger."""
    unread: int
    """Findings of the challenger where nothing of the kind can be read in the champion's text."""
    changes: Changes
    """Of the utterances in which both texts can be read."""


@dataclass(frozen=True)
class Safety:
    """All findings of a comparison."""

    changes: tuple[SafetyChange, ...]
    """By kind, in the order of KINDS."""
    pooled: SafetyChange
    """All kinds that decide."""
    findings: tuple[SafetyFinding, ...]
    """The challenger's: the gravest first, new ones before those that the champion has too."""
    hidden: Pair[int]
    """Utterances with findings whose normalised texts are the same: WER does not see them."""


Found = dict[str, tuple[Finding, ...]]
"""Id of an utterance -> its findings."""


PASSAGES: frozenset[FindingKind] = frozenset({"omission", "addition"})
"""Kinds that any utterance could have."""
READABLE = 0.5
"""Share of an utterance's words that may be wrong where only its words tell whether it reads."""


def compare_safety(
    champion: Sequence[Row],
    challenger: Sequence[Row],
    names: Names,
    severities: Mapping[FindingKind, Severity],
) -> Safety:
    """What the challenger newly gets wrong and what it puts right, kind by kind.

    Both sides hold the same utterances in the same order.
    """
    found: Pair[Found] = Pair(
        champion=find_all(champion, names), challenger=find_all(challenger, names)
    )
    read = [Both(row, other, found, names) for row, other in zip(champion, challenger, strict=True)]
    changes = [_change(kind, read, severities[kind]) for kind in KINDS]
    hidden: Pair[int] = Pair(
        champion=_hidden(champion, found.champion),
        challenger=_hidden(challenger, found.challenger),
    )
    deciding = [kind for kind in KINDS if severities[kind] != "notable"]
    pooled = _pooled(deciding, read)
    return Safety(tuple(changes), pooled, _told(found, severities), hidden)


class Both:
    """One utterance as both models wrote it: its findings, and of which kinds it can be read.

    A champion that writes gibberish for "left knee" has no wrong side there, and nobody is misled.
    Were that counted as right, a challenger that writes "right knee" in one such place of ten
    would be newly wrong, however many it put right. So a kind is compared only where something of
    it can be read in both texts: a finding of the kind, or words of it at all.
    """

    def __init__(self, champion: Row, challenger: Row, found: Pair[Found], names: Names) -> None:
        self.id = champion.id
        self.rows = (champion, challenger)
        self.risk = at_risk(champion.reference, names)
        self.champion = frozenset(one.kind for one in found.champion.get(self.id, ()))
        self.challenger = frozenset(one.kind for one in found.challenger.get(self.id, ()))
        self._said = (
            at_risk(champion.hypothesis, names),
            at_risk(challenger.hypothesis, names),
        )

    def concerns(self, kind: FindingKind) -> bool:
        """Whether there could be, or is, a finding of this kind."""
        return kind in self.risk | PASSAGES | self.champion | self.challenger

    def change(self, kind: FindingKind) -> int | None:
        """+1 newly wrong, -1 put right, 0 neither; None where one text cannot be read."""
        sides = zip(self.rows, (self.champion, self.challenger), self._said, strict=True)
        if not all(self._reads(kind, row, wrong, said) for row, wrong, said in sides):
            return None
        return (kind in self.challenger) - (kind in self.champion)

    def _reads(
        self, kind: FindingKind, row: Row, wrong: frozenset[str], said: frozenset[str]
    ) -> bool:
        if kind in wrong:
            return True
        if kind in self.risk:
            return kind in said
        return row.words.errors <= READABLE * row.words.reference_length


def find_all(rows: Sequence[Row], names: Names) -> Found:
    """The findings of all transcripts that have any."""
    found = {row.id: find_harm(row.reference, row.hypothesis, names) for row in rows}
    return {key: findings for key, findings in found.items() if findings}


def _change(kind: FindingKind, read: Sequence[Both], severity: Severity) -> SafetyChange:
    concerned = [(one, one.change(kind)) for one in read if one.concerns(kind)]
    compared = [(one, change) for one, change in concerned if change is not None]
    return SafetyChange(
        kind=kind,
        severity=severity,
        at_risk=sum(kind in one.risk for one in read),
        new=_clearest(one for one, change in compared if change > 0),
        fixed=_clearest(one for one, change in compared if change < 0),
        champion=sum(kind in one.champion for one in read),
        challenger=sum(kind in one.challenger for one in read),
        unread=sum(change is None and kind in one.challenger for one, change in concerned),
        changes=_changes(compared, sum(kind in one.champion for one, _ in compared)),
    )


def _pooled(kinds: Sequence[FindingKind], read: Sequence[Both]) -> SafetyChange:
    """All kinds at once; an utterance counts once, by whether more of it is wrong or right now."""
    watched = frozenset(kinds)
    compared = []
    for one in read:
        changes = [one.change(kind) for kind in kinds if one.concerns(kind)]
        known = [change for change in changes if change is not None]
        if known:
            compared.append((one, (sum(known) > 0) - (sum(known) < 0)))
    return SafetyChange(
        kind=None,
        severity="treatment",
        at_risk=sum(bool(watched & one.risk) for one in read),
        new=_clearest(one for one, change in compared if change > 0),
        fixed=_clearest(one for one, change in compared if change < 0),
        champion=sum(bool(watched & one.champion) for one in read),
        challenger=sum(bool(watched & one.challenger) for one in read),
        unread=0,
        changes=_changes(compared, sum(bool(watched & one.champion) for one, _ in compared)),
    )


def _changes(compared: Sequence[tuple[Both, int]], wrong_before: int) -> Changes:
    changes = np.array([change for _, change in compared], dtype=np.float64)
    return Changes(changes, block_views([one.rows[0] for one, _ in compared]), wrong_before)


def _clearest(found: Iterable[Both]) -> tuple[str, ...]:
    """Ids, first those in which little else is wrong: there nothing warns a reader."""
    ordered = sorted(found, key=lambda one: (one.rows[1].words.errors, one.id))
    return tuple(one.id for one in ordered)


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

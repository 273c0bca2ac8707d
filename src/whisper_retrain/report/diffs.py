"""What changed between two models' transcripts of the same utterances, word by word.

Words are compared as they are scored: normalised, aligned by jiwer. Pure; knows no storage, HTML
or terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import jiwer

from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.rows import Row
from whisper_retrain.gate.terms import TermChange
from whisper_retrain.normalizer import normalize

Mark = Literal["equal", "substitute", "delete", "insert"]


@dataclass(frozen=True)
class Word:
    """A stretch of words of one kind; a deletion has only a reference, an insertion none."""

    mark: Mark
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Change:
    """One utterance before (champion) and after (challenger)."""

    before: Row
    after: Row

    @property
    def gained(self) -> int:
        """Word errors that the challenger does not make any more; negative for a loss."""
        return self.before.words.errors - self.after.words.errors

    @property
    def marked_before(self) -> list[Word]:
        """The champion's transcript against the reference."""
        return marked(self.before.reference, self.before.hypothesis)

    @property
    def marked_after(self) -> list[Word]:
        """The challenger's transcript against the reference."""
        return marked(self.after.reference, self.after.hypothesis)


def marked(reference: str, hypothesis: str) -> list[Word]:
    """The alignment of two texts after normalisation; empty for two empty texts."""
    left, right = normalize(reference), normalize(hypothesis)
    if not left:
        return [Word("insert", "", right)] if right else []
    said, heard = left.split(), right.split()
    return [
        Word(
            cast(Mark, chunk.type),
            " ".join(said[chunk.ref_start_idx : chunk.ref_end_idx]),
            " ".join(heard[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
        for chunk in jiwer.process_words(left, right).alignments[0]
    ]


def pair_rows(before: Sequence[Row], after: Sequence[Row]) -> list[Change]:
    """Rows of the same utterances, in the order of ids; InputError when the ids differ."""
    left, right = ({row.id: row for row in rows} for rows in (before, after))
    if left.keys() != right.keys():
        odd = sorted(left.keys() ^ right.keys())
        raise InputError(
            "two evaluations of different utterances cannot be shown side by side",
            expected="the same ids",
            got=f"{len(odd)} ids that only one has, such as {odd[0]}",
            remedy="evaluate both models on the same test set",
        )
    return [Change(left[key], right[key]) for key in sorted(left)]


def learned_and_forgotten(
    terms: Sequence[TermChange],
) -> tuple[list[TermChange], list[TermChange]]:
    """Medical terms that the challenger hears right more often, and less often; most first."""
    learned = [term for term in reversed(terms) if term.after > term.before]
    return learned, [term for term in terms if term.after < term.before]


def largest(changes: Sequence[Change], count: int = 25) -> tuple[list[Change], list[Change]]:
    """The utterances with the largest gain and the largest loss in word errors."""
    ordered = sorted(changes, key=lambda change: (-change.gained, change.before.id))
    wins = [change for change in ordered[:count] if change.gained > 0]
    losses = [change for change in reversed(ordered[-count:]) if change.gained < 0]
    return wins, losses


def examples(changes: Sequence[Change], count: int = 5) -> list[Change]:
    """A few to show, no sentence twice: the largest gains, and the worst loss if there is one."""
    wins, losses = (_distinct(found) for found in largest(changes, len(changes)))
    return [*wins[: count - len(losses[:1])], *losses[:1]]


def _distinct(changes: Sequence[Change]) -> list[Change]:
    first = {normalize(change.before.reference): change for change in reversed(changes)}
    return [change for change in changes if first[normalize(change.before.reference)] is change]

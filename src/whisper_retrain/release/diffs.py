"""What changed between two models' transcripts of the same utterances, word by word.

Words are compared as they are scored: normalised, aligned by jiwer. Pure; knows no storage, HTML
or terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import jiwer

from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.lexicon import Lexicon, default_lexicon
from whisper_retrain.evaluation.normalizer import normalize
from whisper_retrain.evaluation.rows import Row

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


@dataclass(frozen=True)
class TermChange:
    """How often a medical term was said, and heard right by each model."""

    term: str
    said: int
    before: int
    after: int


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


def largest(changes: Sequence[Change], count: int = 25) -> tuple[list[Change], list[Change]]:
    """The utterances with the largest gain and the largest loss in word errors."""
    ordered = sorted(changes, key=lambda change: (-change.gained, change.before.id))
    wins = [change for change in ordered[:count] if change.gained > 0]
    losses = [change for change in reversed(ordered[-count:]) if change.gained < 0]
    return wins, losses


def examples(changes: Sequence[Change], count: int = 5) -> list[Change]:
    """A few to show: the largest gains, and the worst loss where there is one."""
    wins, losses = largest(changes, count)
    return [*wins[: count - len(losses[:1])], *losses[:1]]


def term_changes(
    changes: Sequence[Change], lexicon: Lexicon | None = None
) -> tuple[list[TermChange], list[TermChange]]:
    """Medical terms that the challenger hears right more often, and less often; most first.

    Within an utterance a term counts as heard as often as both texts have it, wherever it stands.
    """
    lexicon = lexicon or default_lexicon()
    said: Counter[str] = Counter()
    heard: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for change in changes:
        terms = Counter(lexicon.find(normalize(change.before.reference)))
        said += terms
        for total, row in zip(heard, (change.before, change.after), strict=True):
            total.update(terms & Counter(lexicon.find(normalize(row.hypothesis))))
    found = [TermChange(term, said[term], heard[0][term], heard[1][term]) for term in sorted(said)]
    gains = sorted(found, key=lambda one: one.before - one.after)
    learned = [one for one in gains if one.after > one.before]
    forgotten = [one for one in reversed(gains) if one.after < one.before]
    return learned, forgotten

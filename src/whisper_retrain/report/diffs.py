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
from whisper_retrain.evaluation.long_form import DictatedText
from whisper_retrain.evaluation.rows import Evaluation, Row
from whisper_retrain.gate.terms import TermChange
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import Dictation, Pair

Mark = Literal["equal", "substitute", "delete", "insert"]


@dataclass(frozen=True)
class MarkedWords:
    """A stretch of words of one kind; a deletion has only a reference, an insertion none."""

    mark: Mark
    """What became of them."""
    reference: str
    """What was said, normalised."""
    hypothesis: str
    """What was written instead, normalised."""


@dataclass(frozen=True)
class TranscriptPair:
    """One utterance as champion and challenger wrote it."""

    champion: Row
    """Its row."""
    challenger: Row
    """Its row of the same utterance."""

    @property
    def difference(self) -> int:
        """Word errors, challenger minus champion: negative is a gain."""
        return self.challenger.words.errors - self.champion.words.errors

    @property
    def marked_champion(self) -> list[MarkedWords]:
        """The champion's transcript against the reference."""
        return marked(self.champion.reference, self.champion.hypothesis)

    @property
    def marked_challenger(self) -> list[MarkedWords]:
        """The challenger's transcript against the reference."""
        return marked(self.challenger.reference, self.challenger.hypothesis)


def marked(reference: str, hypothesis: str) -> list[MarkedWords]:
    """The alignment of two texts after normalisation; empty for two empty texts."""
    said, written = normalize(reference), normalize(hypothesis)
    if not said:
        return [MarkedWords("insert", "", written)] if written else []
    words, heard = said.split(), written.split()
    return [
        MarkedWords(
            cast(Mark, chunk.type),
            " ".join(words[chunk.ref_start_idx : chunk.ref_end_idx]),
            " ".join(heard[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
        for chunk in jiwer.process_words(said, written).alignments[0]
    ]


@dataclass(frozen=True)
class DictationPair:
    """One dictation as champion and challenger wrote it."""

    figures: Pair[Dictation]
    """What was counted."""
    reference: str
    """What was said."""
    marked_champion: list[MarkedWords]
    """The champion's transcript against the reference."""
    marked_challenger: list[MarkedWords]
    """The challenger's transcript against the reference."""


def shown_dictation(champion: Evaluation, challenger: Evaluation) -> DictationPair | None:
    """The dictation whose errors changed most for the worse; None where there are none."""
    pairs: list[Pair[Dictation]] = [
        Pair(champion=a, challenger=b)
        for a, b in zip(champion.report.dictations, challenger.report.dictations, strict=True)
    ]
    if not (pairs and champion.dictated and challenger.dictated):
        return None
    worst = max(pairs, key=lambda p: p.challenger.words.errors - p.champion.words.errors)
    before, after = (_text_of(one, worst.champion.id) for one in (champion, challenger))
    said = before.reference
    return DictationPair(worst, said, marked(said, before.text), marked(said, after.text))


def _text_of(evaluation: Evaluation, dictation: str) -> DictatedText:
    return next(one for one in evaluation.dictated if one.id == dictation)


def pair_rows(champion: Sequence[Row], challenger: Sequence[Row]) -> list[TranscriptPair]:
    """Rows of the same utterances, in the order of ids; InputError when the ids differ."""
    by_id, other = ({row.id: row for row in rows} for rows in (champion, challenger))
    if by_id.keys() != other.keys():
        odd = sorted(by_id.keys() ^ other.keys())
        raise InputError(
            "two evaluations of different utterances cannot be shown side by side",
            expected="the same ids",
            got=f"{len(odd)} ids that only one has, such as {odd[0]}",
            remedy="evaluate both models on the same test set",
        )
    return [TranscriptPair(by_id[key], other[key]) for key in sorted(by_id)]


def learned_and_forgotten(
    terms: Sequence[TermChange],
) -> tuple[list[TermChange], list[TermChange]]:
    """Medical terms that the challenger hears right more often, and less often; most first."""
    learned = [term for term in reversed(terms) if term.challenger > term.champion]
    return learned, [term for term in terms if term.challenger < term.champion]


def largest(
    pairs: Sequence[TranscriptPair], count: int = 25
) -> tuple[list[TranscriptPair], list[TranscriptPair]]:
    """The utterances with the largest gain and the largest loss in word errors."""
    ordered = sorted(pairs, key=lambda pair: (pair.difference, pair.champion.id))
    wins = [pair for pair in ordered[:count] if pair.difference < 0]
    losses = [pair for pair in reversed(ordered[-count:]) if pair.difference > 0]
    return wins, losses


def examples(pairs: Sequence[TranscriptPair], count: int = 5) -> list[TranscriptPair]:
    """A few to show, no sentence twice: the largest gains, and the worst loss if there is one."""
    wins, losses = (_distinct(found) for found in largest(pairs, len(pairs)))
    return [*wins[: count - len(losses[:1])], *losses[:1]]


def _distinct(pairs: Sequence[TranscriptPair]) -> list[TranscriptPair]:
    first = {normalize(pair.champion.reference): pair for pair in reversed(pairs)}
    return [pair for pair in pairs if first[normalize(pair.champion.reference)] is pair]

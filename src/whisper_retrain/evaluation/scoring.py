"""Counts of what a hypothesis got right and wrong; pure.

Alignment is jiwer's (Levenshtein with unit costs). Counts are summed over a corpus and divided
last: the WER of a test set is not the mean of its utterances' WERs. An empty reference counts
every word of its hypothesis as an insertion; an empty hypothesis deletes every reference word;
WER may exceed 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jiwer

from whisper_retrain.evaluation.lexicon import Lexicon, default_lexicon
from whisper_retrain.evaluation.normalizer import normalize
from whisper_retrain.records import Counts

Alignment = Sequence[jiwer.AlignmentChunk]


@dataclass(frozen=True)
class Score:
    """One utterance's counts; only `raw` is taken before normalisation."""

    raw: Counts
    words: Counts
    characters: Counts
    medical: Counts


def score_pairs(
    references: Sequence[str], hypotheses: Sequence[str], lexicon: Lexicon | None = None
) -> list[Score]:
    """Score aligned lists of texts as they were written, one `Score` an utterance."""
    lexicon = lexicon or default_lexicon()
    left, right = [normalize(r) for r in references], [normalize(h) for h in hypotheses]
    counted = (
        count_words(references, hypotheses),
        count_words(left, right),
        count_characters(left, right),
        count_words(
            [" ".join(lexicon.find(text)) for text in left],
            [" ".join(lexicon.find(text)) for text in right],
        ),
    )
    return [Score(*counts) for counts in zip(*counted, strict=True)]


def count_words(references: Sequence[str], hypotheses: Sequence[str]) -> list[Counts]:
    """Word-level S/D/I/H of each pair."""
    if not references:
        return []
    output = jiwer.process_words(list(references), list(hypotheses))
    return [count_chunks(chunks) for chunks in output.alignments]


def count_characters(references: Sequence[str], hypotheses: Sequence[str]) -> list[Counts]:
    """Character-level S/D/I/H of each pair, blanks included."""
    if not references:
        return []
    output = jiwer.process_characters(list(references), list(hypotheses))
    return [count_chunks(chunks) for chunks in output.alignments]


def count_chunks(chunks: Iterable[jiwer.AlignmentChunk]) -> Counts:
    """S/D/I/H of one alignment."""
    found = {"equal": 0, "substitute": 0, "delete": 0, "insert": 0}
    for chunk in chunks:
        width = (
            chunk.hyp_end_idx - chunk.hyp_start_idx
            if chunk.type == "insert"
            else chunk.ref_end_idx - chunk.ref_start_idx
        )
        found[chunk.type] += width
    return Counts(
        hits=found["equal"],
        substitutions=found["substitute"],
        deletions=found["delete"],
        insertions=found["insert"],
    )


def repeated_ngrams(text: str, n: int = 5) -> int:
    """How many n-grams of words occur again in the same text; a sign of looping."""
    words = normalize(text).split()
    grams = list(zip(*(words[i:] for i in range(n)), strict=False))
    return len(grams) - len(set(grams))

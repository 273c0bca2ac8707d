"""Counts of what a hypothesis got right and wrong; pure.

Alignment is jiwer's (Levenshtein with unit costs). Counts are summed over a corpus and divided
last: the WER of a test set is not the mean of its utterances' WERs. An empty reference counts
every word of its hypothesis as an insertion; an empty hypothesis deletes every reference word;
WER may exceed 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import jiwer

from whisper_retrain.evaluation.lexicon import Lexicon, default_lexicon
from whisper_retrain.evaluation.tiers import TIERS
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import Counts

LOST_WORDS = 8
"""So many in a row that are missing are a sentence, and no misheard word."""


@dataclass(frozen=True)
class UtteranceCounts:
    """One utterance's counts; only `raw` is taken before normalisation."""

    raw: Counts
    """Words as written."""
    words: Counts
    """Normalised words."""
    characters: Counts
    """Characters of the normalised texts."""
    medical: Counts
    """Medical terms."""
    tiers: Mapping[str, Counts]
    """Tier -> its medical terms; tiers without any are left out."""


def score_pairs(
    references: Sequence[str], hypotheses: Sequence[str], lexicon: Lexicon | None = None
) -> list[UtteranceCounts]:
    """Score aligned lists of texts as they were written, the counts of each utterance."""
    lexicon = lexicon or default_lexicon()
    said, written = [normalize(r) for r in references], [normalize(h) for h in hypotheses]
    counted = zip(
        count_words(_words(references), _words(hypotheses)),
        count_words(said, written),
        count_characters(said, written),
        count_words(_terms(lexicon, said), _terms(lexicon, written)),
        _count_tiers(lexicon, said, written),
        strict=True,
    )
    return [UtteranceCounts(*counts) for counts in counted]


def _words(texts: Sequence[str]) -> list[str]:
    """The texts with one blank between words, whatever stood there."""
    return [" ".join(text.split()) for text in texts]


def _terms(lexicon: Lexicon, texts: Sequence[str]) -> list[str]:
    return [" ".join(lexicon.find(text)) for text in texts]


def _count_tiers(
    lexicon: Lexicon, references: Sequence[str], hypotheses: Sequence[str]
) -> list[dict[str, Counts]]:
    """Counts of each tier's terms, aligned among themselves; tiers without any are left out."""
    said = [lexicon.find_tiers(text) for text in references]
    written = [lexicon.find_tiers(text) for text in hypotheses]
    found: list[dict[str, Counts]] = [{} for _ in references]
    for tier in TIERS:
        used = [i for i in range(len(said)) if said[i][tier] or written[i][tier]]
        counts = count_words(
            [" ".join(said[i][tier]) for i in used], [" ".join(written[i][tier]) for i in used]
        )
        for i, count in zip(used, counts, strict=True):
            found[i][tier] = count
    return found


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


def longest_deletion(chunks: Iterable[jiwer.AlignmentChunk]) -> int:
    """Most words in a row that are missing in one alignment."""
    found = (c.ref_end_idx - c.ref_start_idx for c in chunks if c.type == "delete")
    return max(found, default=0)


def repeated_ngrams(text: str, n: int = 5) -> int:
    """How many n-grams of words occur again in the same text; a sign of looping."""
    words = normalize(text).split()
    grams = list(zip(*(words[i:] for i in range(n)), strict=False))
    return len(grams) - len(set(grams))

"""What is marked in a transcript: words that differ, medical terms, words to check. Pure.

Words are shown as the model wrote them and compared as they are scored: without case and
punctuation. Knows nothing of HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import jiwer

from whisper_retrain.data.text import fold_phrase
from whisper_retrain.evaluation.lexicon import Lexicon
from whisper_retrain.evaluation.transcriber import Word
from whisper_retrain.normalizer import normalize

Difference = Literal["equal", "substitute", "delete", "insert"]

NO_LETTERS = "·"
"""Stands for a word without letters or digits, so that positions stay those of the words."""
REPEATED_WORDS = 5
"""A stretch of so many words that comes again is taken for a loop: loops are confident."""


@dataclass(frozen=True)
class MarkedWord:
    """One word as it is shown."""

    text: str
    """As the model wrote it; of a deletion, what the other transcript has."""
    difference: Difference = "equal"
    """How it differs from the transcript that it is compared with."""
    tier: str | None = None
    """Of a medical term: drug, diagnosis, symptom, anatomy, procedure, or "term" without a tier."""
    check: bool = False
    """A person should listen to it again."""
    start_s: float | None = None
    """When the word begins, seconds."""
    end_s: float | None = None
    """When it ends."""


def mark(
    words: Sequence[Word],
    lexicon: Lexicon,
    check_below: float | None = None,
    compared_with: Sequence[Word] | None = None,
) -> list[MarkedWord]:
    """The words of one transcript with their marks, deletions among them.

    `check_below` is the probability under which a word is to be checked; None marks nothing.
    """
    texts = [word.text.strip() for word in words]
    tiers = find_terms(texts, lexicon)
    loops = find_loops(texts) if check_below is not None else frozenset()
    other = [word.text.strip() for word in compared_with] if compared_with is not None else texts
    marked: list[MarkedWord] = []
    for difference, index, text in align(other, texts):
        if difference == "delete":
            marked.append(MarkedWord(text, "delete"))
            continue
        word = words[index]
        unsure = check_below is not None and (word.probability or 0.0) < check_below
        marked.append(
            MarkedWord(
                text,
                difference,
                tiers.get(index),
                unsure or index in loops,
                word.start_s,
                word.end_s,
            )
        )
    return marked


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[Difference, int, str]]:
    """Difference, index and text of each word; a deletion has the reference's index and text."""
    if not reference or not hypothesis:
        missing: list[tuple[Difference, int, str]] = [
            ("delete", i, text) for i, text in enumerate(reference)
        ]
        return missing + [("insert", i, text) for i, text in enumerate(hypothesis)]
    output = jiwer.process_words(_folded(reference), _folded(hypothesis))
    found: list[tuple[Difference, int, str]] = []
    for chunk in output.alignments[0]:
        kind = cast(Difference, chunk.type)
        if kind == "delete":
            span = range(chunk.ref_start_idx, chunk.ref_end_idx)
            found += [(kind, i, reference[i]) for i in span]
        else:
            span = range(chunk.hyp_start_idx, chunk.hyp_end_idx)
            found += [(kind, i, hypothesis[i]) for i in span]
    return found


def find_terms(words: Sequence[str], lexicon: Lexicon) -> dict[int, str]:
    """Index of a word -> tier of the medical term it belongs to; greedy, the longest term first."""
    found: dict[int, str] = {}
    at = 0
    while at < len(words):
        size, tier = _term_at(words, at, lexicon)
        found |= dict.fromkeys(range(at, at + size), tier)
        at += max(size, 1)
    return found


def _term_at(words: Sequence[str], at: int, lexicon: Lexicon) -> tuple[int, str]:
    """How many words the term that begins here has (0: none begins here), and its tier."""
    head = normalize(words[at]).split()
    longest = lexicon.heads.get(head[0], 0) if head else 0
    for size in range(min(longest, len(words) - at), 0, -1):
        phrase = normalize(" ".join(words[at : at + size]))
        if phrase in lexicon.tiers:
            return size, lexicon.tiers[phrase]
        if phrase in lexicon.terms:
            return size, "term"
    return 0, ""


def find_loops(words: Sequence[str], n: int = REPEATED_WORDS) -> frozenset[int]:
    """Indices of words in a stretch of `n` that was written before."""
    folded = _folded(words)
    seen: set[tuple[str, ...]] = set()
    repeated: set[int] = set()
    grams = zip(*(folded.split(" ")[i:] for i in range(n)), strict=False)
    for start, gram in enumerate(grams):
        if gram in seen:
            repeated.update(range(start, start + n))
        seen.add(gram)
    return frozenset(repeated)


def _folded(words: Sequence[str]) -> str:
    """The words without case and punctuation, one token each."""
    return " ".join(fold_phrase(word).replace(" ", "") or NO_LETTERS for word in words)

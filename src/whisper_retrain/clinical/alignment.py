"""Two views word by word: what both have, and the stretches between (jiwer's alignment)."""

from __future__ import annotations

from dataclasses import dataclass

import jiwer

from whisper_retrain.clinical.polarity import negated
from whisper_retrain.clinical.tokens import Token
from whisper_retrain.clinical.view import clinical_view


@dataclass(frozen=True)
class Side:
    """One text's view without its stops, and what its negations rule over."""

    tokens: tuple[Token, ...]
    """The view, in order."""
    negated: tuple[bool, ...]
    """For each token whether a negation turns it round."""

    @classmethod
    def of(cls, text: str) -> Side:
        tokens = tuple(token for token in clinical_view(text) if token.kind != "stop")
        return cls(tokens, tuple(negated(tokens)))


@dataclass(frozen=True)
class Region:
    """A stretch that differs: places in the reference and in the hypothesis."""

    reference: range
    """Places of the tokens that were said."""
    hypothesis: range
    """Places of the tokens that were written."""


def aligned(said: Side, written: Side) -> tuple[list[tuple[int, int]], list[Region]]:
    """Places that hold the same token, and the regions between them."""
    left = [token.key for token in said.tokens]
    right = [token.key for token in written.tokens]
    if not left or not right:
        return [], [Region(range(len(left)), range(len(right)))]
    (chunks,) = jiwer.process_words([" ".join(left)], [" ".join(right)]).alignments
    matches, regions = [], []
    start = (0, 0)
    for chunk in chunks:
        if chunk.type != "equal":
            continue
        regions.append((start, (chunk.ref_start_idx, chunk.hyp_start_idx)))
        places = range(chunk.ref_start_idx, chunk.ref_end_idx)
        matches += list(zip(places, range(chunk.hyp_start_idx, chunk.hyp_end_idx), strict=True))
        start = (chunk.ref_end_idx, chunk.hyp_end_idx)
    regions.append((start, (len(left), len(right))))
    return matches, [
        Region(range(begin[0], end[0]), range(begin[1], end[1]))
        for begin, end in regions
        if begin != end
    ]


def same_letters(one: Region, said: Side, written: Side) -> bool:
    """Whether a region differs in blanks and hyphens only: "met formin"."""

    def letters(side: Side, places: range) -> str:
        tokens = [side.tokens[at] for at in places]
        if any(token.kind not in ("word", "cue", "route") for token in tokens):
            return ""
        texts = [token.text for token in tokens]
        once = [text for at, text in enumerate(texts) if at == 0 or text != texts[at - 1]]
        return "".join(once).replace(" ", "").replace("-", "")

    spelled = letters(said, one.reference)
    return bool(spelled) and spelled == letters(written, one.hypothesis)

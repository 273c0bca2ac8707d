"""What is denied on one side only: words whose polarity differs, and a yes in the place of a no."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whisper_retrain.clinical.alignment import Region, Side
from whisper_retrain.clinical.findings import Finding
from whisper_retrain.clinical.polarity import is_content, scope_of


def negation_findings(
    said: Side, written: Side, matches: Sequence[tuple[int, int]], regions: Sequence[Region]
) -> Iterator[Finding]:
    """Words that are negated on one side only, where a cue was lost, put in or moved."""
    lost = _cues(said, (at for one in regions for at in one.reference))
    added = _cues(written, (at for one in regions for at in one.hypothesis))
    moved = _moved_across(said, written, regions)
    if not lost and not added and not moved:
        return
    partner = dict(matches)
    turned = [
        (left, right)
        for left, right in matches
        if said.negated[left] != written.negated[right] and is_content(said.tokens[left])
    ]
    turned += moved
    # A cue whose whole scope was misheard turns no word that both sides have.
    known = set(partner.values())
    alone = [at for at in lost if not any(place in partner for place in scope_of(said.tokens, at))]
    alone_added = [at for at in added if not any(p in known for p in scope_of(written.tokens, at))]
    if turned:
        left, right = turned[0]
        yield _negation(said, left, written, right)
    elif len(alone) != len(alone_added):
        left = (alone or [0])[0]
        right = partner.get(left + 1, (alone_added or [min(left, len(written.tokens) - 1)])[0])
        yield _negation(said, left, written, right)


def reply_findings(said: Side, written: Side, regions: Sequence[Region]) -> Iterator[Finding]:
    """A yes in the place of a no."""
    for one in regions:
        lost = [said.tokens[at].value for at in one.reference if said.tokens[at].kind == "reply"]
        added = [
            written.tokens[at].value for at in one.hypothesis if written.tokens[at].kind == "reply"
        ]
        if {*lost, *added} == {"yes", "no"} and lost != added:
            yield Finding("negation", " ".join(lost), " ".join(added))


def _moved_across(said: Side, written: Side, regions: Sequence[Region]) -> list[tuple[int, int]]:
    """Words that stand on the other side of a cue: "edema without rash", "rash without edema"."""
    gone = {said.tokens[at].key: at for one in regions for at in one.reference}
    come = {written.tokens[at].key: at for one in regions for at in one.hypothesis}
    return [
        (gone[key], come[key])
        for key in sorted(gone.keys() & come.keys(), key=gone.__getitem__)
        if is_content(said.tokens[gone[key]])
        and said.negated[gone[key]] != written.negated[come[key]]
    ]


def _cues(side: Side, places: Iterator[int]) -> list[int]:
    return [at for at in places if side.tokens[at].kind in ("cue", "cue-after")]


def _negation(said: Side, left: int, written: Side, right: int) -> Finding:
    return Finding("negation", _around(said, left), _around(written, right))


def _around(side: Side, at: int) -> str:
    """The words near a place, with the cue that rules over it."""
    cues = [
        c
        for c, token in enumerate(side.tokens)
        if token.kind in ("cue", "cue-after") and at in scope_of(side.tokens, c)
    ]
    first, last = min([*cues, max(0, at - 2)]), max([*cues, at])
    texts = [token.text for token in side.tokens[first : last + 1]]
    return " ".join(
        text for place, text in enumerate(texts) if place == 0 or text != texts[place - 1]
    )

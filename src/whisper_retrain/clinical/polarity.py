"""What a negation rules over: the polarity of every word of a view.

After NegEx (Chapman et al. 2001): a cue turns round the next content words, until a word that ends
its scope; a prefix turns round its own word; "was ruled out" the words before it. Two cues cancel.
Punctuation is not looked at: two transcripts of one utterance seldom agree on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from whisper_retrain.clinical.english import english
from whisper_retrain.clinical.tokens import Token

SCOPE = 5
"""Content words that a cue turns round at most."""


def is_content(token: Token) -> bool:
    """Whether a token says something of its own."""
    return token.kind not in ("cue", "cue-after", "stop", "reply") and not (
        token.kind == "word" and token.value in english().function
    )


def scope_of(tokens: Sequence[Token], at: int) -> list[int]:
    """Places of the content words that the cue at a place turns round."""
    cue = tokens[at]
    if cue.kind == "cue-after":
        before = [place for place in range(at) if is_content(tokens[place])]
        return before[-2:]
    own_word = cue.text == "non" or (at + 1 < len(tokens) and tokens[at + 1].text == cue.text)
    words = english()
    found: list[int] = []
    for place in range(at + 1, len(tokens)):
        token = tokens[place]
        if token.kind == "word" and (
            token.value in words.ends or token.value in ("i", "he", "she")
        ):
            break
        if found and token.kind == "cue":
            break  # "no fever and no chills": each has its own
        if is_content(token):
            found.append(place)
            if own_word or len(found) == SCOPE:
                break
    return found


def negated(tokens: Sequence[Token]) -> list[bool]:
    """For each token whether an odd number of cues turns it round."""
    found = [False] * len(tokens)
    for at, token in enumerate(tokens):
        if token.kind in ("cue", "cue-after"):
            for place in scope_of(tokens, at):
                found[place] = not found[place]
    return found

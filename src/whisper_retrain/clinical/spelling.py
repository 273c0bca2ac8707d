"""Forms of one word: British and American, inflected, turned round by a prefix. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from whisper_retrain.clinical.english import english


@lru_cache(maxsize=65_536)
def reversed_stem(word: str) -> str | None:
    """The stem of a word that a prefix turns round: unstable -> stable, nontender -> tender."""
    for prefix, stems in english().reversing.items():
        if not word.startswith(prefix):
            continue
        stem = word.removeprefix(prefix)
        if stems == {"*"} and len(stem) > 3 and stem not in ("sense", "chalant", "etheless"):
            return stem
        if prefix == "un" and is_participle(stem):
            return stem
        if stem in stems or any(form in stems for form in uninflected(stem)):
            return stem
    return None


def is_participle(stem: str) -> bool:
    """Whether "un" before it turns it round by rule: unapproximated, unreadable; not united."""
    return len(stem) > 5 and stem.endswith(("ed", "able", "ible")) and not stem.startswith("der")


def uninflected(word: str) -> list[str]:
    """What a word may be without its ending: starts, started, starting, stopped -> start, stop."""
    found = [word]
    if word.endswith(("ies", "ied")):
        found.append(f"{word[:-3]}y")
    for ending in ("s", "es", "d", "ed", "ing", "ly", "ally"):
        if word.endswith(ending) and len(word) - len(ending) > 1:
            stem = word[: -len(ending)]
            found += [stem, f"{stem}e"]
            if len(stem) > 3 and stem[-1] == stem[-2]:
                found.append(stem[:-1])
    return found


@lru_cache(maxsize=65_536)
def spelling(word: str) -> str:
    """One spelling for British, American and joined forms; for comparing only."""
    same = english().equal
    if word in same:
        return same[word]
    changes: list[tuple[bool, Callable[[str], str]]] = [
        (
            len(word) > 5 and not word.startswith("aer"),
            lambda w: w.replace("ae", "e").replace("oe", "e"),
        ),
        ("our" in word[2:], lambda w: w[:2] + w[2:].replace("our", "or")),
        (word.endswith(("tre", "bre")), lambda w: w[:-2] + "er"),
        (
            True,
            lambda w: (
                w.replace("ise", "ize").replace("isation", "ization").replace("ising", "izing")
            ),
        ),
        (
            True,
            lambda w: w.replace("yse", "yze").replace("ysing", "yzing").replace("sulph", "sulf"),
        ),
        (word.endswith(("lled", "lling")), lambda w: w.replace("ll", "l")),
        (word.endswith("wards"), lambda w: w[:-1]),
        (word.endswith("ical"), lambda w: w[:-2]),
    ]
    for applies, change in changes:
        if applies:
            word = change(word)
    return same.get(word, word)

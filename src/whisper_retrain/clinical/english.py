"""The words of the English view, read from english.toml once."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from itertools import permutations

Phrases = dict[str, list[tuple[tuple[str, ...], str, str]]]
"""First word -> (words, kind, meaning) of the phrases that begin with it, the longest first."""


@dataclass(frozen=True)
class Unit:
    """A unit of measure: what it measures, and how much of that in the dimension's base unit."""

    name: str
    """In one form: mg."""
    dimension: str
    """What it measures: mass."""
    size: Decimal
    """One of it in the dimension's base unit."""


@dataclass(frozen=True)
class English:
    """english.toml in the forms in which it is looked up."""

    fillers: frozenset[str]
    """Hesitations."""
    contractions: dict[str, list[str]]
    """Form -> the words that it stands for."""
    units: dict[str, Unit]
    """Form -> unit."""
    after_number: frozenset[str]
    """Forms that are units only right after a number."""
    phrases: Phrases
    """Codes, idioms and triggers of several words."""
    cues_before: frozenset[str]
    """Words that negate what follows."""
    ends: frozenset[str]
    """Words that end the scope of a negation."""
    pronouns: frozenset[str]
    """Words before which a "no" is an answer."""
    reversing: dict[str, frozenset[str]]
    """Prefix -> stems that it turns round."""
    prefix_pairs: frozenset[tuple[str, str]]
    """Prefixes that make two things of one stem, in both orders."""
    joined: frozenset[str]
    """Prefixes that are one word with the word after them."""
    opposites: frozenset[tuple[str, str]]
    """Words that exclude each other, in both orders."""
    opposite_words: frozenset[str]
    """All of them."""
    weighty: frozenset[str]
    """Words whose loss counts by itself."""
    suffixes: tuple[str, ...]
    """Endings of medical words, the longest first."""
    look_alikes: frozenset[tuple[str, str]]
    """Words that are taken for one another, in both orders."""
    look_alike_words: frozenset[str]
    """All of them."""
    long_prefixes: tuple[str, ...]
    """Prefixes of pairs that are long enough to tell a word by."""
    drugs: frozenset[str]
    """Names of drugs beyond the lexicon's."""
    drug_stems: tuple[str, ...]
    """Endings of international drug names."""
    equal: dict[str, str]
    """Name -> the name that stands for all of its set."""
    homophones: dict[str, frozenset[str]]
    """A number in words -> what sounds like it."""
    letters: frozenset[str]
    """Words after which a letter is to be expected."""
    roman: frozenset[str]
    """Words after which a Roman numeral is to be expected."""
    months: frozenset[str]
    """By name."""
    weekdays: frozenset[str]
    """By name."""
    function: frozenset[str]
    """Words that say nothing of their own."""


@cache
def english() -> English:
    """The tables; made when first used."""
    read = tomllib.loads(files("whisper_retrain.clinical").joinpath("english.toml").read_text())
    negation, context = read["negation"], read["context"]
    opposites = f"{read['opposites']['pairs']} {read['exclusive']['sets']}"
    return English(
        fillers=_words(read["fillers"]["words"]),
        contractions={form: words.split() for form, words in read["contractions"].items()},
        units=_units(read["units"]),
        after_number=_words(read["ambiguous_units"]["words"]),
        phrases=_phrases(read["codes"] | read["phrases"], negation),
        cues_before=_words(negation["before"]),
        ends=_words(negation["ends"]),
        pronouns=_words(negation["pronouns"]),
        reversing={prefix: _words(stems) for prefix, stems in read["reversing"].items()},
        prefix_pairs=_pairs(read["prefix_pairs"]["pairs"]),
        joined=_words(read["prefix_pairs"]["joined"]),
        opposites=_pairs(opposites),
        opposite_words=frozenset(opposites.replace("/", " ").split()),
        weighty=_words(read["weighty"]["words"]),
        suffixes=tuple(sorted(_words(read["suffixes"]["words"]), key=len, reverse=True)),
        look_alikes=_pairs(read["look_alikes"]["pairs"]),
        look_alike_words=frozenset(read["look_alikes"]["pairs"].replace("/", " ").split()),
        long_prefixes=_long(read["prefix_pairs"]["pairs"]),
        drugs=_words(read["drugs"]["words"]),
        drug_stems=tuple(read["drugs"]["stems"].split()),
        equal=_equal(read["equal_words"]["sets"]),
        homophones={number: _words(words) for number, words in read["homophones"].items()},
        letters=_words(context["letters"]),
        roman=_words(context["roman"]),
        months=_words(context["months"]),
        weekdays=_words(context["weekdays"]),
        function=_words(context["function"]),
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(text: str) -> frozenset[tuple[str, str]]:
    """Both orders of each pair; of a larger set all pairs."""
    return frozenset(order for words in text.split() for order in permutations(words.split("/"), 2))


def _long(pairs: str) -> tuple[str, ...]:
    return tuple({prefix for prefix in pairs.replace("/", " ").split() if len(prefix) > 3})


def _equal(text: str) -> dict[str, str]:
    sets = [names.split("/") for names in text.split()]
    return {name: names[0] for names in sets for name in names}


def _units(lines: dict[str, str]) -> dict[str, Unit]:
    found: dict[str, Unit] = {}
    for name, line in lines.items():
        forms, measure = line.split(" | ")
        dimension, size = measure.split()
        found |= dict.fromkeys(forms.split(), Unit(name, dimension, Decimal(size)))
    return found


def _phrases(meanings: dict[str, str], negation: dict[str, str]) -> Phrases:
    rules = [(phrase, *meaning.split(":", 1)) for phrase, meaning in meanings.items()]
    rules += [(phrase, "cue", "no") for phrase in negation["before_phrases"].split("|")]
    rules += [(phrase, "cue-after", "no") for phrase in negation["after_phrases"].split("|")]
    found: Phrases = {}
    for phrase, kind, meaning in sorted(rules, key=lambda rule: -len(rule[0].split())):
        words = tuple(phrase.split())
        found.setdefault(words[0], []).append((words, kind, meaning))
    return found

"""Errors that WER counts like any other and a patient would not: negation, side, number, dose.

Pure. A side, number or unit that was put in the place of another is counted once more, as a
swapped value: a reader sees that "5o mg" is garbled, and cannot see that "15 mg" was "50 mg".
A finding is an utterance in which the words of one kind differ between reference and
hypothesis: "no chest pain" heard as "chest pain" is one wrong word in three and the opposite
diagnosis. Numbers and units are compared in the normalizer's form, so "fifty" equals "50".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import jiwer

from whisper_retrain.evaluation.lexicon import Lexicon, default_lexicon
from whisper_retrain.evaluation.rows import Row
from whisper_retrain.normalizer import normalize

Kind = Literal["negation", "laterality", "number", "dose-unit", "swapped-value", "look-alike"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_NEGATIONS = "no not never none nor neither without negative nothing denies"
_AMOUNTS = "one ones half quarter once twice thrice double"
_SAME = {"denied": "denies", "deny": "denies", "denying": "denies", "bilaterally": "bilateral"}
_UNITS = {
    "mg": "mg milligram milligrams",
    "mcg": "mcg microgram micrograms ug",
    "g": "g gram grams",
    "kg": "kg kilogram kilograms",
    "ml": "ml milliliter milliliters cc",
    "l": "l liter liters",
    "mm": "mm millimeter millimeters",
    "cm": "cm centimeter centimeters",
    "unit": "unit units",
    "meq": "meq milliequivalent milliequivalents",
    "hour": "hour hours hourly",
    "day": "day days daily",
    "week": "week weeks weekly",
    "month": "month months monthly",
}
VOCABULARY: dict[Kind, dict[str, str]] = {
    "negation": {word: word for word in _NEGATIONS.split()},
    "laterality": {word: word for word in ("left", "right", "bilateral")},
    "number": {word: word for word in _AMOUNTS.split()},
    "dose-unit": {form: unit for unit, forms in _UNITS.items() for form in forms.split()},
}
VOCABULARY["negation"] |= {form: word for form, word in _SAME.items() if word == "denies"}
VOCABULARY["laterality"] |= {form: word for form, word in _SAME.items() if word == "bilateral"}
VALUES: tuple[Kind, ...] = ("laterality", "number", "dose-unit")
_NUMBER = re.compile(r"[$¢€£]?\d[\d.,/]*(?:st|nd|rd|th|s|%)?$")

PREFIXES = (
    ("hyper", "hypo"),
    ("tachy", "brady"),
    ("inter", "intra"),
    ("macro", "micro"),
    ("supra", "infra"),
    ("supra", "sub"),
    ("pre", "post"),
    ("abduc", "adduc"),
    ("an", ""),
    ("a", ""),
)
# Words that are taken for one another in practice; drug names after the list of confused drug
# names that the Institute for Safe Medication Practices keeps.
_PAIRS = """
dysphagia/dysphasia ileum/ilium ureter/urethra perineal/peroneal palpation/palpitation
facial/fascial hydralazine/hydroxyzine celebrex/celexa prednisone/prednisolone
clonidine/clonazepam metformin/metronidazole tramadol/trazodone lamictal/lamisil
bupropion/buspirone vinblastine/vincristine dopamine/dobutamine morphine/hydromorphone
humalog/humulin novolog/novolin zantac/xanax carbamazepine/oxcarbazepine
ephedrine/epinephrine glipizide/glyburide penicillin/penicillamine
sulfadiazine/sulfasalazine amlodipine/amiloride
"""
PAIRS = frozenset(frozenset(pair.split("/")) for pair in _PAIRS.split())


@dataclass(frozen=True)
class Finding:
    """One kind of critical word that one utterance's transcript got wrong."""

    kind: Kind
    id: str
    expected: str
    got: str


@dataclass(frozen=True)
class Change:
    """One kind of finding under both models: ids of utterances."""

    kind: Kind
    at_risk: int
    new: tuple[str, ...]
    fixed: tuple[str, ...]
    before: int
    after: int


def compare_safety(
    champion: Sequence[Row], challenger: Sequence[Row], lexicon: Lexicon | None = None
) -> list[Change]:
    """What the challenger newly gets wrong and what it puts right, by kind."""
    before, after = find_all(champion, lexicon), find_all(challenger, lexicon)
    changes = []
    for kind in KINDS:
        old = {finding.id for finding in before if finding.kind == kind}
        now = {finding.id for finding in after if finding.kind == kind}
        at_risk = sum(bool(critical_words(kind, normalize(row.reference))) for row in champion)
        new, fixed = tuple(sorted(now - old)), tuple(sorted(old - now))
        changes.append(Change(kind, at_risk, new, fixed, len(old), len(now)))
    return changes


def find_all(rows: Sequence[Row], lexicon: Lexicon | None = None) -> list[Finding]:
    """All findings in one model's transcripts."""
    drugs = lexicon or default_lexicon()
    wrong = [row for row in rows if row.words.errors]
    texts = [(normalize(row.reference), normalize(row.hypothesis)) for row in wrong]
    if not texts:
        return []
    aligned = jiwer.process_words([left for left, _ in texts], [right for _, right in texts])
    findings = []
    for number, (row, pair) in enumerate(zip(wrong, texts, strict=True)):
        findings += list(_counted(row.id, *pair))
        for said, written in _substituted(aligned, number):
            if look_alike(said, written) or _drug_swap(said, written, drugs):
                findings.append(Finding("look-alike", row.id, said, written))
    return findings


def critical_words(kind: Kind, normalized: str) -> Counter[str]:
    """The words of one kind in a normalised text, forms of one word taken together."""
    if kind == "swapped-value":
        return sum((critical_words(value, normalized) for value in VALUES), Counter())
    known = VOCABULARY.get(kind, {})
    words = normalized.split()
    found = Counter(known[word] for word in words if word in known)
    if kind == "number":
        found.update(word for word in words if _NUMBER.match(word))
    return found


@lru_cache(maxsize=65_536)
def look_alike(said: str, written: str) -> bool:
    """Whether two words are known to be mistaken for one another, with another meaning."""
    if frozenset((said, written)) in PAIRS:
        return True
    for one, other in PREFIXES:
        for first, second in ((said, written), (written, said)):
            rest = first.removeprefix(one)
            if first.startswith(one) and len(rest) > 4 and second == other + rest:
                return True
    return False


def _counted(row_id: str, reference: str, hypothesis: str) -> Iterator[Finding]:
    for kind in VOCABULARY:
        said, written = critical_words(kind, reference), critical_words(kind, hypothesis)
        if said != written:
            lost, added = sorted((said - written).elements()), sorted((written - said).elements())
            yield Finding(kind, row_id, " ".join(lost), " ".join(added))
            if kind in VALUES and lost and added:
                yield Finding("swapped-value", row_id, " ".join(lost), " ".join(added))


def _substituted(aligned: jiwer.WordOutput, number: int) -> Iterator[tuple[str, str]]:
    left, right = aligned.references[number], aligned.hypotheses[number]
    for chunk in aligned.alignments[number]:
        if chunk.type == "substitute":
            said = left[chunk.ref_start_idx : chunk.ref_end_idx]
            written = right[chunk.hyp_start_idx : chunk.hyp_end_idx]
            yield from zip(said, written, strict=True)


def _drug_swap(said: str, written: str, lexicon: Lexicon) -> bool:
    return lexicon.tiers.get(said) == "drug" == lexicon.tiers.get(written)

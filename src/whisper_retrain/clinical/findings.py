"""What a finding is: its kinds, how severe each is, and how a person would say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

FindingKind = Literal[
    "drug",
    "dose",
    "unit",
    "frequency",
    "route",
    "laterality",
    "negation",
    "opposite",
    "look-alike",
    "term",
    "number",
    "duration",
    "comparison",
    "letter",
    "date",
    "omission",
    "addition",
    "garbled",
]
KINDS: tuple[FindingKind, ...] = get_args(FindingKind)
Severity = Literal["treatment", "meaning", "notable"]
"""What a reader who doesn't notice may do wrong: treat otherwise, understand otherwise, neither."""
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
SEVERITY: Mapping[FindingKind, Severity] = MappingProxyType(
    {
        "drug": "treatment",
        "dose": "treatment",
        "unit": "treatment",
        "frequency": "treatment",
        "route": "treatment",
        "laterality": "treatment",
        "duration": "treatment",
        "negation": "meaning",
        "opposite": "meaning",
        "look-alike": "meaning",
        "term": "meaning",
        "number": "meaning",
        "comparison": "meaning",
        "omission": "meaning",
        "addition": "meaning",
        "garbled": "notable",
        "letter": "notable",
        "date": "notable",
    }
)
"""A clinic overrides it in its policy."""


@dataclass(frozen=True)
class Finding:
    """One thing that a transcript says otherwise than was said."""

    kind: FindingKind
    """Of which kind."""
    expected: str
    """What was said, in its words; empty where something was put in."""
    got: str
    """What was written; empty where something was left out."""
    about: str = ""
    """What it is said of: the drug of a dose, the part of a side; empty where none is near."""

    def said(self) -> str:
        """The finding as a person would say it."""
        subject = _SUBJECT[self.kind].format(about=f" of {self.about}" if self.about else "")
        expected, got = self._shown(self.expected), self._shown(self.got)
        if self.kind == "negation":
            return f"“{self.expected}” became “{self.got}”"
        if not self.expected:
            return f"{subject}“{got}” was put in"
        if self.kind == "garbled":
            return f"“{self.expected}” cannot be read any more"
        if not self.got:
            return f"{subject}“{expected}” was lost"
        return f"{subject}{expected} became {got}"

    def _shown(self, text: str) -> str:
        return f"{text} {self.about}" if text and self.about and self.kind == "laterality" else text


_SUBJECT: dict[FindingKind, str] = {
    "drug": "drug: ",
    "dose": "dose{about}: ",
    "unit": "unit{about}: ",
    "frequency": "how often{about}: ",
    "route": "way{about}: ",
    "laterality": "",
    "negation": "",
    "opposite": "",
    "look-alike": "",
    "term": "",
    "number": "number{about}: ",
    "duration": "time{about}: ",
    "comparison": "comparison{about}: ",
    "letter": "letter: ",
    "date": "date: ",
    "omission": "",
    "addition": "",
    "garbled": "",
}

"""Champion against challenger under a policy: what every rule looks at, computed once; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from whisper_retrain.clinical import LANGUAGES, SEVERITY, Names
from whisper_retrain.evaluation.lexicon import Lexicon, default_lexicon
from whisper_retrain.evaluation.rows import Evaluation, Row
from whisper_retrain.gate.ledger import Standing
from whisper_retrain.gate.measures import Measure, compare_measure, ordered
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.safety import Safety, compare_safety
from whisper_retrain.gate.slices import SliceComparison, compare_slices
from whisper_retrain.gate.statistics import Comparison
from whisper_retrain.gate.terms import TermChange, term_changes
from whisper_retrain.records import Pair


@dataclass(frozen=True)
class Contest:
    """Champion against challenger under a policy: what every rule looks at."""

    champion: Evaluation
    """Its evaluation."""
    challenger: Evaluation
    """Its evaluation."""
    policy: GatePolicy
    """The rules' bounds."""
    standing: Standing = field(default_factory=Standing)
    """What earlier looks have left of a year's errors."""
    guard: Pair[Evaluation] | None = None
    """Both on the general-speech test set."""
    lexicon: Lexicon = field(default_factory=default_lexicon)
    """Medical terms, the policy's own ones too."""
    language: str = "en"
    """Of the transcripts, as Whisper names it."""

    @property
    def alpha(self) -> float:
        """Most probability of calling a model better that is none, at this look; 0: used up."""
        return self.policy.alpha * self.standing.improvement_share(self.policy.planned_looks)

    @property
    def guard_alpha(self) -> float:
        """Most probability of passing a harm as large as the margin, at this look.

        Of the guards that protect people; the others hold theirs at each look.
        """
        return self.policy.guard_alpha * self.standing.guard_share(self.policy.planned_looks)

    @cached_property
    def champion_rows(self) -> list[Row]:
        """The champion's rows by id."""
        return ordered(self.champion)

    @cached_property
    def challenger_rows(self) -> list[Row]:
        """The challenger's rows by id."""
        return ordered(self.challenger)

    @cached_property
    def slices(self) -> list[SliceComparison]:
        """The parts of the test set that are looked at, the worst change first."""
        alpha, least = self.policy.guard_alpha, self.policy.min_slice_words
        return compare_slices(
            self.champion_rows, self.challenger_rows, alpha=alpha, min_words=least
        )

    @cached_property
    def terms(self) -> list[TermChange]:
        """Every medical term of the references, the most forgotten first."""
        return term_changes(self.champion_rows, self.challenger_rows, self.lexicon)

    @cached_property
    def safety(self) -> Safety | None:
        """What a clinician would notice; None for a language without a clinical view."""
        if self.language not in LANGUAGES:
            return None
        severities = {**SEVERITY, **self.policy.severities}
        names = Names(self.lexicon.tiers)
        return compare_safety(self.champion_rows, self.challenger_rows, names, severities)

    @property
    def speakers(self) -> set[str]:
        """Known speakers of the test set."""
        return {row.speaker for row in self.champion_rows if row.speaker}

    @property
    def unknown_share(self) -> float:
        """Share of the words whose speaker is not known."""
        rows = self.champion_rows
        words = [row.words.reference_length for row in rows]
        unknown = sum(n for n, row in zip(words, rows, strict=True) if not row.speaker)
        return unknown / max(1, sum(words))

    def compare(self, measure: Measure, alpha: float) -> Comparison:
        """Challenger against champion on one measure."""
        return compare_measure(
            self.champion, self.challenger, measure, alpha=alpha, policy=self.policy
        )

"""What the vault says of a year: WER by month, harm, rejections, cost; the table and the JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.year_corpus import DRUG, EVENTS, MONTHS, NEW_DRUG
from benchmarks.year_life import DEFAULT, MonthEnd, Speech, Year
from benchmarks.year_pieces import World
from benchmarks.year_policies import (
    BASE,
    Change,
    TermCount,
    cost_ratio,
    forgotten,
    months_until,
)
from whisper_retrain.evaluation.rows import Evaluation
from whisper_retrain.gate.measures import compare_measure
from whisper_retrain.gate.terms import term_changes
from whisper_retrain.normalizer import normalize

ALPHA = 0.025
"""One-sided: the vault's intervals are 95 %."""

Heard = Callable[[str], Evaluation]
"""A model's name -> what it makes of the vault."""
Lines = Mapping[str, Sequence[float]]
"""Policy -> WER of its champion in the vault at the end of each month, a fraction."""


def heard_in(world: World, speech: Speech, year: Year) -> Heard:
    """Every model that somebody's champion or challenger was, on the judging part of the vault."""
    return lambda name: world.evaluation(year.models[name], speech.judging)


def wer_by_month(world: World, speech: Speech, year: Year) -> Lines:
    """The lines of the picture."""
    heard = heard_in(world, speech, year)
    return {
        policy: [_wer(heard(end.champions[policy])) for end in year.ends]
        for policy in year.ends[0].champions
    }


def figures(world: World, speech: Speech, year: Year) -> dict[str, Any]:
    """All that the JSON holds."""
    heard, last = heard_in(world, speech, year), year.ends[-1].champions
    lines = wer_by_month(world, speech, year)
    asked = [(end, end.asked[DEFAULT]) for end in year.ends if end.asked]
    promotions, rejections = [], []
    for end, what in asked:
        champion = _before(year, end)
        change = change_of(world, end.month, heard(champion), heard(what.offer.challenger))
        (promotions if what.offer.promoted else rejections).append((change, what.reasons))
    return {
        "final_wer": {policy: wers[-1] for policy, wers in lines.items()},
        "base_wer": _wer(heard(BASE)),
        "promotions": len(promotions),
        "harmful_promotions": sum(one.is_harmful for one, _ in promotions),
        "cost_ratio": cost_ratio([w.seconds for _, w in asked], [w.cold_s for _, w in asked]),
        "months_to_new_term": _months_to_new_term(year, heard),
        "default_against": {
            policy: against(world, heard(champion), heard(last[DEFAULT]))
            for policy, champion in last.items()
            if policy != DEFAULT
        },
        "promoted": [asdict(one) | {"harmful": one.is_harmful} for one, _ in promotions],
        "rejected": [
            asdict(one) | {"right": not one.is_gain, "reasons": reasons}
            for one, reasons in rejections
        ],
        "months": [_month(end, lines, number) for number, end in enumerate(year.ends)],
        "vault": {
            "utterances": speech.judging.splits["test"].utterances,
            "voices": speech.judging.splits["test"].speakers,
        },
    }


def _month(end: MonthEnd, lines: Lines, number: int) -> dict[str, Any]:
    return {
        "month": end.month,
        "train_utterances": end.train_utterances,
        "wer": {policy: wers[number] for policy, wers in lines.items()},
        "champions": dict(end.champions),
        "promoted": {house: one.offer.promoted for house, one in end.asked.items()},
        "test_wer": {house: dict(one.offer.test_wer) for house, one in end.asked.items()},
        "seconds": {house: round(one.seconds) for house, one in end.asked.items()},
    }


def change_of(world: World, month: str, before: Evaluation, after: Evaluation) -> Change:
    """From one champion to another."""
    found = compare_measure(before, after, "words", alpha=ALPHA, policy=world.policy)
    terms = [
        TermCount(one.term, one.occurrences, one.champion, one.challenger)
        for one in term_changes(_rows(before), _rows(after))
    ]
    interval = found.interval
    return Change(month, _wer(after) - _wer(before), interval.low, interval.high, forgotten(terms))


def _before(year: Year, end: MonthEnd) -> str:
    """The default's champion when the month began."""
    number = year.ends.index(end)
    return year.ends[number - 1].champions[DEFAULT] if number else BASE


def against(world: World, other: Evaluation, ours: Evaluation) -> dict[str, float]:
    """What ours has less than another one, in WER, and the paired 95 % interval."""
    found = compare_measure(other, ours, "words", alpha=ALPHA, policy=world.policy)
    return {
        "difference": found.difference, "low": found.interval.low, "high": found.interval.high,
    }  # fmt: skip


def _months_to_new_term(year: Year, heard: Heard) -> int | None:
    recalls = [recall(heard(end.champions[DEFAULT]), DRUG) for end in year.ends]
    arrived = MONTHS.index(NEW_DRUG)
    return months_until(recalls, arrived) if arrived < len(recalls) else None


def recall(evaluation: Evaluation, term: str) -> float:
    """Share of the utterances with a term in whose transcript it is, too."""
    said = [row for row in evaluation.rows if term in normalize(row.reference).split()]
    right = sum(term in normalize(row.hypothesis).split() for row in said)
    return right / len(said) if said else 0.0


def _rows(evaluation: Evaluation) -> list[Any]:
    return sorted(evaluation.rows, key=lambda row: row.id)


def _wer(evaluation: Evaluation) -> float:
    return evaluation.report.words.error_rate


def table(year: Year, lines: Lines) -> str:
    """Markdown: a row a month, WER of each policy's champion, promotions in bold."""
    policies = list(lines)
    rows = [["month", "what came", "trained on", *policies]]
    rows.append(["---", "---", *["---:"] * (len(policies) + 1)])
    for number, end in enumerate(year.ends):
        cells = []
        for policy in policies:
            before = year.ends[number - 1].champions[policy] if number else BASE
            text = f"{lines[policy][number]:.1%}".replace("%", " %")
            cells.append(f"**{text}**" if end.champions[policy] != before else text)
        came = EVENTS.get(end.month, "")
        rows.append([end.month, came, f"{end.train_utterances:,}", *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)

"""Whether two evaluations may be compared at all; raises when they may not.

A verdict over reports of different test sets, decodings or normalizers would be no verdict, and
rows that do not add up to their report were changed since: neither is a reason to reject a
challenger, both are faults that a person must see.
"""

from __future__ import annotations

from whisper_retrain.errors import InputError, IntegrityError
from whisper_retrain.evaluation.rows import Evaluation, rows_digest
from whisper_retrain.records import Pair, total

SAME = ("test_set_digest", "normalizer_version", "lexicon_version", "decoding_digest")


def check_comparable(champion: Evaluation, challenger: Evaluation) -> None:
    """Raise InputError for different conditions, IntegrityError for rows that were changed."""
    conditions = Pair(champion=champion, challenger=challenger).map(_conditions)
    for name in sorted(conditions.champion.keys() | conditions.challenger.keys()):
        expected, got = conditions.champion.get(name), conditions.challenger.get(name)
        if expected != got:
            raise InputError(
                "the reports are not comparable",
                where=name,
                expected=f"{expected} (champion)",
                got=f"{got} (challenger)",
                remedy="evaluate both models on the same test set, in the same way",
            )
    for evaluation in (champion, challenger):
        check_rows(evaluation)
    _check_same_utterances(champion, challenger)
    _check_same_dictations(champion, challenger)


def _conditions(evaluation: Evaluation) -> dict[str, str]:
    report = evaluation.report
    return {name: getattr(report, name) for name in SAME} | report.conditions


def check_rows(evaluation: Evaluation) -> None:
    """Raise IntegrityError unless the rows are those that the report was made from."""
    report, rows = evaluation.report, evaluation.rows
    found = rows_digest(rows)
    counted = total(row.words for row in rows)
    if found != report.rows_digest or counted != report.words or len(rows) != report.utterances:
        raise IntegrityError(
            "the rows are not those that the report was made from",
            where=report.model.name,
            expected=f"{report.utterances} rows with digest {report.rows_digest}",
            got=f"{len(rows)} rows with digest {found}",
            remedy="delete the evaluation's prefix and evaluate again",
        )


def _check_same_utterances(champion: Evaluation, challenger: Evaluation) -> None:
    said = {row.id: row.reference for row in champion.rows}
    also = {row.id: row.reference for row in challenger.rows}
    if said != also or len(said) != len(champion.rows):
        different = sorted(k for k in said.keys() | also.keys() if said.get(k) != also.get(k))
        raise IntegrityError(
            "the reports do not hold the same utterances and references",
            expected=f"{len(champion.rows)} utterances, each once",
            got=f"{len(different)} different, first: {different[:3]}",
            remedy="evaluate both models on the same test set",
        )


def _check_same_dictations(champion: Evaluation, challenger: Evaluation) -> None:
    expected, got = (
        [(one.id, one.words.reference_length) for one in evaluation.report.dictations]
        for evaluation in (champion, challenger)
    )
    if expected != got:
        raise IntegrityError(
            "the reports do not hold the same dictations",
            expected=f"{len(expected)} dictations (champion)",
            got=f"{len(got)} (challenger)",
            remedy="evaluate both models on the same test set",
        )

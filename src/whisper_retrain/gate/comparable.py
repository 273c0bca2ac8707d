"""Whether two evaluations may be compared at all; raises when they may not.

A verdict over reports of different test sets, decodings or normalizers would be no verdict, and
rows that do not add up to their report were changed since: neither is a reason to reject a
challenger, both are faults that a person must see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isnan

from whisper_retrain.errors import InputError, IntegrityError
from whisper_retrain.evaluation.lexicon import Lexicon
from whisper_retrain.evaluation.rows import COUNTED, Evaluation, Row, rows_digest
from whisper_retrain.evaluation.scoring import repeated_ngrams, score_pairs
from whisper_retrain.evaluation.tiers import TIERS
from whisper_retrain.normalizer import NORMALIZER_VERSION
from whisper_retrain.records import Pair, total

SAME = ("test_set_digest", "normalizer_version", "lexicon_version", "decoding_digest")
SIDES = ("speaker", "phrase", "prompt", "duration_s", "sampling_rate_hz")
"""What belongs to an utterance, whoever transcribed it."""
SHOWN = 3


def check_comparable(
    champion: Evaluation, challenger: Evaluation, lexicon: Lexicon | None = None
) -> None:
    """Raise InputError for different conditions, IntegrityError for rows that were changed.

    With a lexicon, that of the policy, the rows' counts must be those of their texts.
    """
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
        check_ids(evaluation)
        check_rows(evaluation)
        if lexicon:
            check_counts(evaluation, lexicon)
    _check_same_utterances(champion, challenger)
    _check_same_dictations(champion, challenger)


def check_models(reports: Pair[Evaluation], guard: Pair[Evaluation]) -> None:
    """Raise InputError unless the reports on general speech are those of the same two models."""
    for side in ("champion", "challenger"):
        expected, got = (getattr(pair, side).report.model.model_digest for pair in (reports, guard))
        if expected != got:
            raise InputError(
                "the report on general speech is of another model",
                where=f"guard, {side}",
                expected=f"model {expected}",
                got=f"model {got}",
                remedy="evaluate the models that are compared on general speech, too",
            )


def _conditions(evaluation: Evaluation) -> dict[str, str]:
    report = evaluation.report
    return {name: getattr(report, name) for name in SAME} | report.conditions


def check_ids(evaluation: Evaluation) -> None:
    """Raise InputError without rows, for an id that comes twice, and for what is no number."""
    where, rows = evaluation.report.model.name, evaluation.rows
    if not rows:
        raise InputError("the evaluation has no rows", where=where, remedy="evaluate on a test set")
    twice = [key for key, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise InputError(
            "an utterance comes twice", where=f"{where}, row {twice[0]}", expected="each id once",
            got=f"{len(twice)} ids more than once", remedy="evaluate again",
        )  # fmt: skip
    for row in rows:
        if any(value is not None and isnan(value) for value in (row.duration_s, row.snr_db)):
            raise InputError(
                "a figure is no number", where=f"{where}, row {row.id}",
                expected="seconds and dB, or nothing where they are not known",
                got=f"duration_s={row.duration_s}, snr_db={row.snr_db}",
            )  # fmt: skip


def check_rows(evaluation: Evaluation) -> None:
    """Raise IntegrityError unless the rows are those that the report was made from."""
    report, rows = evaluation.report, evaluation.rows
    found = rows_digest(rows)
    if found != report.rows_digest or len(rows) != report.utterances:
        raise IntegrityError(
            "the rows are not those that the report was made from",
            where=report.model.name,
            expected=f"{report.utterances} rows with digest {report.rows_digest}",
            got=f"{len(rows)} rows with digest {found}",
            remedy="delete the evaluation's prefix and evaluate again",
        )
    expected = _counts_of(rows)
    for name, count in expected.items():
        got = report.tiers.get(name) if name in TIERS else getattr(report, name)
        if got != count and not (name in TIERS and not report.tiers):
            raise IntegrityError(
                "a count of the report is not that of its rows",
                where=f"{report.model.name}, {name}",
                expected=str(count),
                got=str(got),
                remedy="delete the evaluation's prefix and evaluate again",
            )


def _counts_of(rows: Sequence[Row]) -> Mapping[str, object]:
    """What a report says that its rows say, too."""
    counts: dict[str, object] = {
        name: total(row.counts(name) for row in rows) for name in (*COUNTED, *TIERS)
    }
    return counts | {
        "runaways": sum(row.runaway for row in rows),
        "repetitions": sum(repeated_ngrams(row.hypothesis) for row in rows),
    }


def check_counts(evaluation: Evaluation, lexicon: Lexicon) -> None:
    """Raise InputError unless each row's counts are those of its texts, scored anew.

    Reports of another normalizer or list of terms, kept by an earlier version, are taken as they
    are; one of other own terms than the policy's is refused.
    """
    report = evaluation.report
    if report.lexicon_version and report.lexicon_version != lexicon.version:
        if report.lexicon_version.split("+")[0] != lexicon.version.split("+")[0]:
            return
        raise InputError(
            "the report was scored with other own terms than the policy names",
            where=f"{report.model.name}, own_terms",
            expected=lexicon.version,
            got=report.lexicon_version,
            remedy="evaluate again under this policy, or name the same own terms",
        )
    if report.normalizer_version != NORMALIZER_VERSION or not report.lexicon_version:
        return
    rows = evaluation.rows
    anew = score_pairs([r.reference for r in rows], [r.hypothesis for r in rows], lexicon)
    for row, counts in zip(rows, anew, strict=True):
        for name in (*COUNTED, *TIERS):
            expected = getattr(counts, name) if name in COUNTED else counts.tiers.get(name)
            if expected is not None and row.counts(name) != expected:
                raise InputError(
                    "a row's counts are not those of its texts",
                    where=f"{report.model.name}, row {row.id}, {name}",
                    expected=str(expected),
                    got=str(row.counts(name)),
                    remedy="delete the evaluation's prefix and evaluate again",
                )


def _check_same_utterances(champion: Evaluation, challenger: Evaluation) -> None:
    said = {row.id: row for row in champion.rows}
    also = {row.id: row for row in challenger.rows}
    for name in ("reference", *SIDES):
        different = sorted(
            key
            for key in said.keys() | also.keys()
            if key not in said or key not in also or _differ(said[key], also[key], name)
        )
        if different:
            raise IntegrityError(
                "the reports do not hold the same utterances and references",
                where=name,
                expected=f"{len(said)} utterances, the same on both sides",
                got=f"{len(different)} different, first: {different[:SHOWN]}",
                remedy="evaluate both models on the same test set",
            )


def _differ(one: Row, other: Row, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


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

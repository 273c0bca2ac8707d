"""The statistics on cases that were worked out by others, or can be by hand."""

from __future__ import annotations

import random

import jiwer
import numpy as np
import pytest

from whisper_retrain.gate.mapsswe import (
    errors_by_position,
    from_differences,
    mapsswe,
    segment_differences,
)
from whisper_retrain.gate.statistics import (
    Paired,
    block_totals,
    compare,
    compare_view,
    rate_interval,
    resample,
    stretch,
    student_quantile,
)


@pytest.mark.parametrize(
    ("probability", "degrees", "table"),
    [
        (0.95, 1, 6.314),
        (0.95, 2, 2.920),
        (0.95, 4, 2.132),
        (0.975, 10, 2.228),
        (0.99, 30, 2.457),
        (0.999, 2, 22.33),
        (0.95, 120, 1.658),
        (0.95, 10_000, 1.645),
    ],
)
def test_students_t_is_the_printed_tables(probability: float, degrees: int, table: float) -> None:
    assert student_quantile(probability, degrees) == pytest.approx(table, rel=1e-3)


def chunk(kind: str, ref: tuple[int, int], hyp: tuple[int, int]) -> jiwer.AlignmentChunk:
    return jiwer.AlignmentChunk(kind, *ref, *hyp)


def test_mapsswe_gives_sctks_own_test_case() -> None:
    """NIST SCTK, src/sclite/testdata: file1.sgml against file2.sgml, base_sc_stats/test1a."""
    # (100-000): no reference word, system 1 inserts one
    first = errors_by_position([chunk("insert", (0, 0), (0, 1))], 0), errors_by_position([], 0)
    # (100-123): yeah how do we handle how do we (ha-) address that
    same = [
        chunk("equal", (0, 1), (0, 1)),
        chunk("delete", (1, 2), (1, 1)),
        chunk("substitute", (2, 3), (1, 2)),
        chunk("equal", (3, 4), (2, 3)),
        chunk("substitute", (4, 7), (3, 6)),
        chunk("equal", (7, 9), (6, 8)),
    ]
    one = [
        *same,
        chunk("delete", (9, 10), (8, 8)),
        chunk("equal", (10, 11), (8, 9)),
        chunk("insert", (11, 11), (9, 11)),
    ]
    two = [*same, chunk("substitute", (9, 11), (8, 10))]
    second = errors_by_position(one, 11), errors_by_position(two, 11)
    differences = segment_differences(*first) + segment_differences(*second)
    found = from_differences(differences)
    assert found.segments == 3
    assert found.mean == pytest.approx(-0.667, abs=5e-4), "sc_stats counts the other way round"
    assert found.deviation == pytest.approx(0.577, abs=5e-4)
    assert found.statistic == pytest.approx(-2.0)
    assert sum(map(sum, (first[0], second[0]))) == 9
    assert sum(map(sum, (first[1], second[1]))) == 7


def test_mapsswe_of_equal_models_finds_nothing() -> None:
    found = mapsswe(["a b c d"], ["a x c d"], ["a x c d"])
    assert (found.segments, found.mean, found.statistic, found.probability) == (1, 0, 0, 1)


def some_errors(rates: tuple[float, float], utterances: int = 400, seed: int = 1) -> Paired:
    rng = np.random.default_rng(seed)
    words = rng.integers(5, 16, utterances)
    a, b = (rng.binomial(words, rate).astype(np.float64) for rate in rates)
    return Paired(a, b, words.astype(np.float64))


def test_the_bootstrap_agrees_with_the_formula_where_there_is_one() -> None:
    pairs = some_errors((0.12, 0.10))
    found = compare_view(pairs, "utterance", range(400), alpha=0.05)
    change = pairs.challenger_errors - pairs.champion_errors - found.difference * pairs.words
    error = np.sqrt(np.square(change).sum()) / pairs.words.sum()
    assert found.interval.low == pytest.approx(found.difference - 1.645 * error, abs=error / 8)
    assert found.interval.high == pytest.approx(found.difference + 1.645 * error, abs=error / 8)
    assert found.detectable == pytest.approx((1.645 + 0.842) * error, rel=0.1)


def test_blocks_of_like_utterances_widen_the_interval() -> None:
    pairs = some_errors((0.1, 0.1), utterances=20)
    repeated = Paired(*(np.repeat(column, 20) for column in vars(pairs).values()))
    blocks = np.repeat(np.arange(20), 20).tolist()
    apart = compare_view(repeated, "row", range(400), alpha=0.05)
    together = compare_view(repeated, "speaker", blocks, alpha=0.05)
    assert together.width > 3.5 * apart.width
    assert compare(repeated, {"speaker": blocks, "row": range(400)}, alpha=0.05) == together


def test_few_blocks_are_stretched_and_many_are_not() -> None:
    assert stretch(3, 0.05) == pytest.approx(np.sqrt(1.5) * 2.920 / 1.645, rel=1e-3)
    assert stretch(2000, 0.05) == pytest.approx(1.0, abs=1e-3)
    assert stretch(124, 0.001) == pytest.approx(3.09 / 1.645, rel=0.03)


def test_one_speaker_says_nothing_about_others() -> None:
    pairs = some_errors((0.3, 0.1), utterances=60)
    phrases = [number // 2 for number in range(60)]
    found = compare(pairs, {"speaker": ["ann"] * 60, "phrase": phrases}, alpha=0.05)
    assert (found.view, found.blocks) == ("phrase", 30)
    alone = compare(pairs, {"speaker": ["ann"] * 60}, alpha=0.05)
    assert (alone.view, alone.blocks) == ("utterance", 60)


def test_no_errors_at_all_is_no_improvement() -> None:
    nothing = Paired(np.zeros(50), np.zeros(50), np.full(50, 9.0))
    found = compare(nothing, {}, alpha=0.05)
    assert (found.interval.low, found.interval.high) == (0.0, 0.0)
    assert found.improvement_probability == 0.0


def test_only_empty_references_decide_nothing() -> None:
    silent = Paired(np.ones(50), np.zeros(50), np.zeros(50))
    found = compare(silent, {}, alpha=0.05)
    assert found.interval.high == 1.0


def test_resampling_keeps_the_means_and_is_repeatable() -> None:
    pairs = some_errors((0.1, 0.2))
    blocks = block_totals(pairs, [number % 7 for number in range(400)])
    assert blocks.shape == (7, 3)
    assert blocks.sum(axis=0) == pytest.approx(
        [pairs.champion_errors.sum(), pairs.challenger_errors.sum(), pairs.words.sum()]
    )
    one, other = (resample(blocks, 5000, np.random.default_rng(3)) for _ in range(2))
    assert (one == other).all()
    assert one.mean(axis=0) == pytest.approx(blocks.sum(axis=0), rel=0.02)


def test_a_rates_interval_covers_it_and_never_goes_below_zero() -> None:
    pairs = some_errors((0.02, 0.02))
    speakers = [random.Random(number).randrange(9) for number in range(400)]
    found = rate_interval(
        pairs.champion_errors, pairs.words, {"speaker": speakers}, confidence=0.95
    )
    assert 0 <= found.low < pairs.champion_errors.sum() / pairs.words.sum() < found.high


@pytest.mark.parametrize(("speakers", "promised"), [(3, 0.047), (5, 0.032), (25, 0.048)])
def test_equal_models_are_called_better_as_often_as_promised(
    speakers: int, promised: float
) -> None:
    """Speakers differ in how the two models suit them; utterances alone would be fooled."""
    rng, found = np.random.default_rng(7), 0
    runs, labels = 4000, np.repeat(np.arange(speakers), 40).tolist()
    for _ in range(runs):
        rates = np.repeat(rng.beta(4, 16, speakers), 40)
        shift = np.repeat(rng.normal(0, 0.03, speakers), 40)
        a, b = (rng.binomial(10, np.clip(rates + s, 0.01, 1)) for s in (0, shift))
        pairs = Paired(a.astype(np.float64), b.astype(np.float64), np.full(len(a), 10.0))
        compared = compare(pairs, {"speaker": labels}, alpha=0.05, replicates=1000)
        found += compared.interval.high < 0
    chance = 3 * np.sqrt(promised * (1 - promised) / runs)  # about one point
    assert found / runs == pytest.approx(promised, abs=chance)

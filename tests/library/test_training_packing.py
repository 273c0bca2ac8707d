"""Windows of 30 s: what is heard where, and labels that say so."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.fixtures.training import say, write_tiny_model
from whisper_retrain.config import DecodingConfig
from whisper_retrain.training.model import labels_for, load_model
from whisper_retrain.training.packing import Utterance, packed
from whisper_retrain.training.speech import Example, Labels

RATE = 16_000
TEXTS = ("pain", "cough fever rash", "rash", "fever pain")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    base = write_tiny_model(tmp_path_factory.mktemp("base"), positions=128)
    return labels_for(load_model(base), base, DecodingConfig())


def spoken(*texts: str, times: int = 1) -> list[Utterance]:
    return [Utterance(text, np.tile(say(text), times), text) for text in texts]


def windows(labels: Labels, utterances: list[Utterance], timed: bool) -> list[Example]:
    """Forty windows of the same utterances, those with or without timestamps."""
    made = [packed(utterances, labels, np.random.default_rng(seed)) for seed in range(40)]
    chosen = [one for one in made if (notimestamps(labels) not in one.label_ids) == timed]
    assert 10 < len(chosen) < 30
    return chosen


def notimestamps(labels: Labels) -> int:
    return int(labels.tokenizer.convert_tokens_to_ids("<|notimestamps|>"))


def read(labels: Labels, example: Example) -> list[tuple[float, str, float | None]]:
    """(start_s, text, end_s) of a label with timestamps, read by the tokenizer's own names."""
    tokens = labels.tokenizer.convert_ids_to_tokens(example.label_ids)
    assert tokens[-1] == "<|endoftext|>"
    found: list[tuple[float, str, float | None]] = []
    text, start_s = "", None
    for token in tokens[:-1]:
        if not token.startswith("<|"):
            text += token
        elif start_s is None:
            start_s = float(token[2:-2])
        else:
            found.append((start_s, text.replace("Ġ", " ").strip(), float(token[2:-2])))
            text, start_s = "", None
    return found if start_s is None else [*found, (start_s, text, None)]


def test_a_window_lasts_thirty_seconds_and_counts_its_speech_alone(labels: Labels) -> None:
    example = packed(spoken(*TEXTS), labels, np.random.default_rng(0))
    assert example.wave.shape == (30 * RATE,)
    assert example.wave.dtype == np.float32
    assert np.abs(example.wave).max() <= 1
    assert example.audio_s == pytest.approx(sum(len(say(text)) for text in TEXTS) / RATE)


def test_without_timestamps_the_texts_follow_one_another(labels: Labels) -> None:
    for example in windows(labels, spoken(*TEXTS), timed=False):
        assert example.label_ids == labels.ids(" ".join(TEXTS))


def test_timestamps_say_where_each_utterance_is_heard(labels: Labels) -> None:
    for example in windows(labels, spoken(*TEXTS), timed=True):
        segments = read(labels, example)
        assert [text for _, text, _ in segments] == list(TEXTS)
        assert segments[0][0] <= 1.0  # decoding allows no later one
        pauses = [b[0] - a[2] for a, b in pairwise(segments) if a[2]]
        assert all(0.28 <= pause <= 1.52 for pause in pauses)
        for start_s, text, end_s in segments:
            heard = example.wave[round(start_s * RATE) : round((end_s or 30) * RATE)]
            # Only the background, at most -45 dBFS, is between them.
            known = say(text)[: len(heard)]
            assert np.corrcoef(known, heard[: len(known)])[0, 1] > 0.99


def test_what_the_windows_end_cuts_has_its_start_and_no_text(labels: Labels) -> None:
    long = spoken(*["cough fever rash"] * 4, times=9)  # 8.1 s each
    for example in windows(labels, long, timed=True):
        segments = read(labels, example)
        assert [end_s is None for _, _, end_s in segments] == [False, False, False, True]
        assert segments[-1][0] > 25.2
        assert np.abs(example.wave[-RATE // 2 :]).max() > 0.1  # it is heard all the same
        assert example.audio_s == pytest.approx(24.3)


def test_without_timestamps_nothing_is_cut(labels: Labels) -> None:
    long = spoken(*["cough fever rash"] * 4, times=9)
    for example in windows(labels, long, timed=False):
        assert example.label_ids == labels.ids(" ".join(["cough fever rash"] * 3))
        assert np.abs(example.wave[-RATE // 2 :]).max() < 0.1


def test_an_utterance_of_thirty_seconds_has_its_window_to_itself(labels: Labels) -> None:
    whole = spoken("cough fever", times=50)
    assert len(whole[0].wave) == 30 * RATE
    for seed in range(10):
        example = packed(whole, labels, np.random.default_rng(seed))
        assert example.audio_s == 30.0
        assert labels.tokenizer.decode(example.label_ids, skip_special_tokens=True).strip() == (
            "cough fever"
        )


def test_more_label_ids_than_the_decoder_takes_are_left_out(labels: Labels) -> None:
    many = spoken(*["cough fever rash"] * 12)  # 17 ids each
    for seed in range(20):
        assert len(packed(many, labels, np.random.default_rng(seed)).label_ids) <= labels.max_ids


def test_where_nobody_speaks_the_label_is_empty(labels: Labels) -> None:
    end = labels.tokenizer.eos_token_id
    zero = labels.tokenizer.convert_tokens_to_ids("<|0.00|>")
    made = [packed([], labels, np.random.default_rng(seed)) for seed in range(40)]
    assert {one.label_ids for one in made} == {(notimestamps(labels), end), (zero, end)}
    assert {one.audio_s for one in made} == {0.0}
    levels = [float(np.sqrt(np.mean(np.square(one.wave)))) for one in made]
    assert min(levels) == 0.0 < max(levels) < 0.11


def test_the_same_seed_makes_the_same_window(labels: Labels) -> None:
    first, second = (packed(spoken(*TEXTS), labels, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.wave, second.wave)
    assert first.label_ids == second.label_ids

"""From recordings to utterances: conservation, the frozen test set, duplicates, review."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from tests.fixtures import naive_curation
from whisper_retrain.config import DatasetConfig, DatasetSource, SplitPolicy, ValidationBounds
from whisper_retrain.data import rows as rows_module
from whisper_retrain.data.curate import Before, Curated, curate, reasons
from whisper_retrain.data.manifest import Utterance, digest_of_test_set, manifest_digest
from whisper_retrain.data.recordings import Recording, text_or_none
from whisper_retrain.data.review import ReviewFile, parse_review
from whisper_retrain.data.splits import digest_of_test_policy
from whisper_retrain.data.validation import Quarantined, label_id_counter
from whisper_retrain.errors import InputError

law = settings(max_examples=100, deadline=None)
COUNT = label_id_counter(None)
HELD_OUT = {"test", "vault"}
BROKEN = {"audio_sha256": None, "failure": "undecodable: no header"}


def sha(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def recording(
    number: int, speaker: str = "s1", reference: str | None = "I feel ill.", **more: object
) -> Recording:
    good = Recording(
        source="main",
        id=str(number),
        origin="o",
        reference=reference,
        speaker=speaker,
        encoded_sha256=sha(f"encoded {number}"),
        audio_sha256=sha(number),
        sampling_rate_hz=44_100,
        num_samples=32_000,
        duration_s=2.0,
        level_dbfs=-20.0,
        shard=sha("shard"),
        row=number,
    )
    return replace(good, **more)


def config(**splits: object) -> DatasetConfig:
    return DatasetConfig(
        sources=(DatasetSource(location="demo/data"),), splits=SplitPolicy.model_validate(splits)
    )


def corpus(speakers: int = 12, phrases: int = 20) -> list[Recording]:
    return [
        recording(s * phrases + p, f"s{s}", f"This is phrase {p}.")
        for s in range(speakers)
        for p in range(phrases)
        if (s + p) % 3 == 0
    ]


def before(curated: Curated, of: DatasetConfig) -> Before:
    return Before(curated.utterances, curated.cuts, digest_of_test_policy(of.splits))


def held_out_digest(curated: Curated) -> str:
    return digest_of_test_set(curated.utterances)


def by_id(curated: Curated, split: str) -> dict[str, Utterance]:
    return {u.id: u for u in curated.utterances if u.split == split}


# Recordings that break every rule, collide in ids and audio, and lack what can be lacking.
any_recording = st.builds(
    recording,
    number=st.integers(0, 40),
    speaker=st.sampled_from(["s1", "s2", "s3", "s4", None]),
    reference=st.sampled_from(
        [None, "", "...", "A cough", "a cough.", "doesn√ït", "x\ufffd", "Two\nlines", "Pain", "Ill"]
    ),
    audio_sha256=st.one_of(st.integers(0, 30).map(sha), st.none()),
    duration_s=st.sampled_from([0.05, 1.0, 2.0, 29.0, 31.0]),
    level_dbfs=st.sampled_from([-20.0, -90.0]),
    clipped_share=st.sampled_from([0.0, 0.5]),
)
recordings = st.lists(any_recording, max_size=60)
configs = st.builds(
    config,
    disjoint=st.sampled_from(["speaker-and-phrase", "speaker", "phrase", "none"]),
    test_set=st.sampled_from(["frozen", "grow"]),
    vault_share=st.sampled_from([0.0, 0.3]),
)


@law
@given(recordings, configs)
def test_every_recording_seen_is_taken_quarantined_or_dropped(
    rows: list[Recording], of: DatasetConfig
) -> None:
    found = curate(rows, of, Before(), COUNT)
    assert found.seen == len(rows)
    assert found.seen == len(found.utterances) + len(found.quarantined) + len(found.dropped)
    taken = [u.audio_sha256 for u in found.utterances]
    assert len(set(taken)) == len(taken)


@law
@given(recordings, recordings, configs)
def test_growth_moves_nothing_and_a_frozen_test_set_keeps_its_digest(
    rows: list[Recording], more: list[Recording], of: DatasetConfig
) -> None:
    first = curate(rows, of, Before(), COUNT)
    second = curate([*rows, *more], of, before(first, of), COUNT)
    splits = {u.id: u.split for u in second.utterances}
    for u in first.utterances:
        # A later recording may contradict an earlier one, which then is quarantined, never moved.
        assert splits.get(u.id, u.split) == u.split
    frozen = of.splits.test_set == "frozen"
    if frozen and {u.split for u in first.utterances} & HELD_OUT:
        assert held_out_digest(second) == held_out_digest(first)


def test_of_two_rows_that_differ_by_speaker_the_same_one_stays() -> None:
    rows = [recording(0, speaker=speaker) for speaker in ("s1", "s2")]
    one, other = (curate(these, config(), Before(), COUNT) for these in (rows, rows[::-1]))
    assert manifest_digest(one.utterances) == manifest_digest(other.utterances)


@law
@given(recordings, configs, st.randoms(use_true_random=False))
def test_digests_do_not_depend_on_the_order_of_the_rows(
    rows: list[Recording], of: DatasetConfig, rng: random.Random
) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)
    one, other = curate(rows, of, Before(), COUNT), curate(shuffled, of, Before(), COUNT)
    assert manifest_digest(one.utterances) == manifest_digest(other.utterances)
    assert reasons(q.reason for q in one.quarantined) == reasons(
        q.reason for q in other.quarantined
    )


reviews = st.builds(
    ReviewFile,
    kept=st.frozensets(st.integers(0, 9).map("main/{}".format), max_size=3),
    excluded=st.frozensets(st.integers(10, 19).map("main/{}".format), max_size=3),
    corrected=st.dictionaries(
        st.integers(20, 45).map("main/{}".format), st.sampled_from(["A cough", "Nausea", "Ill"])
    ),
)
every_config = st.builds(
    config,
    disjoint=st.sampled_from(
        ["speaker-and-phrase", "speaker", "phrase", "none", "test-only", "guard"]
    ),
    test_set=st.sampled_from(["frozen", "grow"]),
    vault_share=st.sampled_from([0.0, 0.3]),
    test_speakers=st.sampled_from([(), ("s1", "s4")]),
)


@law
@given(recordings, recordings, every_config, reviews, st.integers(1, 7))
def test_columns_say_what_lists_and_dictionaries_would(
    rows: list[Recording],
    more: list[Recording],
    of: DatasetConfig,
    review: ReviewFile,
    rows_at_once: int,
) -> None:
    """Whether anything came before or not, and however few rows are in memory at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "ROWS_AT_ONCE", rows_at_once)
        first = curate(rows, of, Before(), COUNT)
        later = before(first, of)
        for there, earlier in ((rows, Before()), ([*rows, *more], later), (more, later)):
            found = curate(there, of, earlier, COUNT, review)
            naive = naive_curation.curate(there, of, earlier, COUNT, review)
            assert found.seen == naive.seen
            assert [*found.utterances] == naive.utterances
            assert [*found.quarantined] == naive.quarantined
            assert {d.utterance: d.reason for d in found.dropped} == naive.dropped
            assert found.cuts == naive.cuts
            assert found.leakage == naive.leakage
            assert found.notices == naive.notices


def test_a_manifest_gives_the_same_splits_again() -> None:
    """The manifest and the policy are enough to make the splits a second time."""
    of = config()
    found = curate(corpus(), of, Before(), COUNT)
    again = curate(corpus(), of, before(found, of), COUNT)
    assert again.utterances == found.utterances
    assert again.dropped == found.dropped


def test_splits_and_digests_are_the_same_on_every_machine_and_in_every_version() -> None:
    """Golden values: a change here gives every user another test set, so bump the versions."""
    found = curate(corpus(), config(test_share=0.2), Before(), COUNT)
    assert reasons(u.split for u in found.utterances) == {"test": 2, "train": 50, "validation": 3}
    assert reasons(one.reason for one in found.dropped) == {
        "leakage-by-test-phrase": 14,
        "leakage-by-test-speaker": 11,
    }
    assert (
        manifest_digest(found.utterances)
        == "42f748f5cc50ca3d8b58b6fdc265a14a3304b09dbe2d483fdf3e7dd4ed992b68"
    )


def test_a_recording_of_the_test_set_cannot_be_sneaked_in() -> None:
    of = config()
    first = curate(corpus(), of, Before(), COUNT)
    stolen = next(iter(by_id(first, "test").values()))
    late = [
        recording(9_001, "somebody else", stolen.reference, audio_sha256=stolen.audio_sha256),
        recording(9_002, "somebody else", "Other words.", audio_sha256=stolen.audio_sha256),
    ]
    second = curate([*corpus(), *late], of, before(first, of), COUNT)
    assert {(q.utterance, q.reason) for q in second.quarantined} == {
        ("main/9001", "test-set-leak"),
        ("main/9002", "test-set-leak"),
    }
    assert held_out_digest(second) == held_out_digest(first)


def test_speakers_and_phrases_of_the_test_set_that_come_later_are_dropped() -> None:
    of = config()
    first = curate(corpus(), of, Before(), COUNT)
    test = next(iter(by_id(first, "test").values()))
    train = next(iter(by_id(first, "train").values()))
    late = [
        recording(9_001, str(test.speaker), train.reference),
        recording(9_002, str(train.speaker), test.reference),
        recording(9_003, str(test.speaker), test.reference),
    ]
    second = curate([*corpus(), *late], of, before(first, of), COUNT)
    assert {d.utterance: d.reason for d in second.dropped if "/900" in d.utterance} == {
        "main/9001": "leakage-by-test-speaker",
        "main/9002": "leakage-by-test-phrase",
        "main/9003": "test-set-is-frozen",
    }


def test_a_growing_test_set_takes_up_what_belongs_to_it() -> None:
    of = config(test_set="grow")
    first = curate(corpus(), of, Before(), COUNT)
    test = next(iter(by_id(first, "test").values()))
    late = recording(9_003, str(test.speaker), test.reference)
    second = curate([*corpus(), late], of, before(first, of), COUNT)
    assert "main/9003" in by_id(second, "test")


@pytest.mark.parametrize(
    ("change", "notice"),
    [
        ({"reference": "Changed words."}, "test-set-changed: reference of {} is another one"),
        ({"audio_sha256": sha("changed")}, "test-set-changed: audio of {} is another one"),
        (None, "test-set-removed: {} is gone"),
    ],
)
def test_a_change_of_the_test_set_in_its_source_is_named_and_not_taken_over(
    change: dict[str, object] | None, notice: str
) -> None:
    of = config()
    first = curate(corpus(), of, Before(), COUNT)
    test = next(iter(by_id(first, "test")))
    rows = [r for r in corpus() if r.key != test]
    if change is not None:
        rows += [replace(r, **change) for r in corpus() if r.key == test]
    second = curate(rows, of, before(first, of), COUNT)
    assert held_out_digest(second) == held_out_digest(first)
    assert len(second.notices) == 1
    assert second.notices[0].startswith(notice.format(test))


def test_another_policy_begins_another_test_set() -> None:
    first = curate(corpus(), config(), Before(), COUNT)
    other = config(salt="another")
    second = curate(corpus(), other, before(first, config()), COUNT)
    assert held_out_digest(second) != held_out_digest(first)


@pytest.mark.parametrize("test_set", ["frozen", "grow"])
@pytest.mark.parametrize("disjoint", ["speaker-and-phrase", "speaker", "phrase", "none"])
def test_a_dataset_that_began_under_the_earlier_default_keeps_its_splits(
    disjoint: str, test_set: str
) -> None:
    """Its policy names no share: 20 % then, 30 % for a dataset that begins now."""
    earlier = config(disjoint=disjoint, test_set=test_set, test_share=0.2)
    now = config(disjoint=disjoint, test_set=test_set)
    first = curate(corpus(), earlier, Before(), COUNT)
    second = curate(corpus(), now, before(first, earlier), COUNT)
    assert second.utterances == first.utterances
    late = [recording(9_000 + n, f"s{n % 15}", f"This is phrase {n}.") for n in range(40)]
    third = curate(
        [*corpus(), *late], now, Before(second.utterances, second.cuts, second.test_policy), COUNT
    )
    began = {u.id: u.split for u in first.utterances}
    assert {u.id: u.split for u in third.utterances if u.id in began} == began
    assert curate(corpus(), now, Before(), COUNT).utterances != first.utterances


def test_of_equal_recordings_the_one_that_was_taken_first_stays() -> None:
    of = config(disjoint="phrase")
    first = curate([*corpus(), recording(500, "s1", "Twice said.")], of, Before(), COUNT)
    assert "main/500" in {u.id for u in first.utterances}
    twin = recording(100_000, "s2", "Twice said.", id="0", audio_sha256=sha(500))
    second = curate(
        [twin, *corpus(), recording(500, "s1", "Twice said.")], of, before(first, of), COUNT
    )
    assert [(q.utterance, q.figure) for q in second.quarantined] == [("main/0", "main/500")]


def test_one_recording_with_two_references_is_not_believed_in_either() -> None:
    rows = [
        recording(1, reference="Take one."),
        recording(2, reference="Take two.", audio_sha256=sha(1)),
    ]
    found = curate([*corpus(), *rows], config(), Before(), COUNT)
    conflicting = [q for q in found.quarantined if q.reason == "conflicting-references"]
    assert {"main/2"} <= {q.utterance for q in conflicting}
    assert all(q.figure == "take one | take two" or "phrase" in q.figure for q in conflicting)


def only_fault(
    row: Recording, bounds: ValidationBounds | None = None, **review: object
) -> Quarantined | None:
    of = config().model_copy(update={"bounds": bounds or ValidationBounds()})
    found = curate([*corpus(), row], of, Before(), COUNT, ReviewFile(**review))
    return next((q for q in found.quarantined if q.utterance == row.key), None)


@pytest.mark.parametrize(
    ("reason", "figure", "bound", "change"),
    [
        ("undecodable", "no header", "a recording", BROKEN),
        ("too-short", "0.100 s", "0.2", {"duration_s": 0.1}),
        ("too-long", "40.000 s", "30.0", {"duration_s": 40.0}),
        ("silent", "-75.0 dBFS", "-60.0", {"level_dbfs": -75.0}),
        ("clipped", "0.250", "0.05", {"clipped_share": 0.25}),
        ("reference-not-text", "none", "text", {"reference": None}),
        ("empty-reference", "0 letters", "1 letter", {"reference": ""}),
        ("empty-reference", "0 letters", "1 letter", {"reference": " ... "}),
        ("mojibake", "can\ufffdt", "text that can be decoded", {"reference": "can\ufffdt"}),
        ("too-many-label-ids", "504", "448", {"reference": "long " * 200, "duration_s": 29.0}),
        (
            "implausible-speaking-rate",
            "69.5 characters/s",
            "0.3 to 35.0",
            {"reference": "so many words " * 10},
        ),
        (
            "implausible-speaking-rate",
            "0.1 characters/s",
            "0.3 to 35.0",
            {"reference": "Oh.", "duration_s": 20.0},
        ),
    ],
)
def test_the_quarantine_names_reason_figure_and_bound(
    reason: str, figure: str, bound: str, change: dict[str, object]
) -> None:
    fault = only_fault(recording(9_000, **change))
    assert fault is not None
    assert (fault.reason, fault.figure, fault.bound) == (reason, figure, bound)


def test_label_ids_are_counted_with_a_tokenizer_where_one_is_given(tmp_path: Path) -> None:
    """Five special ids, and one for each word of this tokenizer."""
    words = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    count = label_id_counter(str(tmp_path / "tokenizer.json"))
    assert count("I feel ill") == 3 + 5
    assert COUNT("I feel ill") == 10 // 2 + 5


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (7.0, "7"), ("7", "7"), (" s1 ", "s1"), ("", None), (None, None), (7.5, "7.5"),
     (float("nan"), None)],
)  # fmt: skip
def test_speakers_and_ids_are_texts_whatever_their_column_held(value: object, text: str) -> None:
    assert text_or_none(value) == text


def test_bounds_are_settings() -> None:
    assert only_fault(recording(9_000, duration_s=0.1)) is not None
    assert (
        only_fault(
            recording(9_000, reference="Oh", duration_s=0.1), ValidationBounds(min_duration_s=0.05)
        )
        is None
    )


def test_a_person_may_overrule_the_quarantine_but_not_what_cannot_be_used() -> None:
    quiet = recording(9_000, level_dbfs=-75.0)
    assert only_fault(quiet) is not None
    assert only_fault(quiet, kept=frozenset({"main/9000"})) is None
    broken = recording(9_000, audio_sha256=None, failure="undecodable: x")
    assert only_fault(broken, kept=frozenset({"main/9000"})) is not None
    wordless = recording(9_000, level_dbfs=-75.0, reference="")
    fault = only_fault(wordless, kept=frozenset({"main/9000"}))
    assert fault is not None
    assert fault.reason == "empty-reference"


def test_a_person_may_exclude_and_correct() -> None:
    fault = only_fault(recording(9_000), excluded=frozenset({"main/9000"}))
    assert fault is not None
    assert fault.reason == "excluded-by-review"
    rows = [*corpus(), recording(9_000, "s-new", "rong words")]
    review = ReviewFile(corrected={"main/9000": "Right words."})
    found = curate(rows, config(disjoint="none"), Before(), COUNT, review)
    corrected = next(u for u in found.utterances if u.id == "main/9000")
    assert (corrected.reference, corrected.phrase, corrected.note) == (
        "Right words.",
        "right words",
        "reviewed",
    )


def test_a_person_may_mend_the_test_set_which_is_named() -> None:
    of = config()
    first = curate(corpus(), of, Before(), COUNT)
    one, other, *_ = sorted(by_id(first, "test"))
    train = next(iter(by_id(first, "train").values()))
    review = ReviewFile(excluded=frozenset({one}), corrected={other: train.reference})
    second = curate(corpus(), of, before(first, of), COUNT, review)
    assert held_out_digest(second) != held_out_digest(first)
    assert second.notices == [
        f"test-set-reviewed: {one} is excluded",
        f"test-set-reviewed: reference of {other} is corrected",
    ]
    # The corrected phrase is the test set's now: train may not keep it.
    assert train.phrase not in {u.phrase for u in by_id(second, "train").values()}


def test_a_review_of_what_is_not_there_is_named() -> None:
    found = curate(corpus(), config(), Before(), COUNT, ReviewFile(kept=frozenset({"main/nobody"})))
    assert found.notices == ["review-unknown: main/nobody is in no source"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"utterance,verdict\n", "column missing in the review file: action"),
        (b"utterance,action\nmain/1,drop\n", "makes no sense; at review.csv, line 2"),
        (b"utterance,action,reference\nmain/1,correct,\n", "a correction without a reference"),
        (b"utterance,action\nmain/1,keep\nmain/1,exclude\n", "reviewed twice"),
        (b"utterance,action\nmain/\xff,keep\n", "not UTF-8"),
    ],
)
def test_a_wrong_review_file_is_refused_with_its_line(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_review(data, "review.csv")

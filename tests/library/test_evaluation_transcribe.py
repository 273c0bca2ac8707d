"""Transcribing in shards: bounded, resumable, never done twice; with a tiny Whisper and real S3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fixtures.evaluation import a_job, an_utterance, tiny_whisper, tone
from tests.fixtures.evidence import some_evidence
from whisper_retrain.config import DecodingConfig
from whisper_retrain.edges.store import S3Store
from whisper_retrain.errors import InputError, IntegrityError
from whisper_retrain.evaluation import jobs
from whisper_retrain.evaluation.evaluate import evaluate_model
from whisper_retrain.evaluation.jobs import find_report, load_evaluation, plan_evaluation
from whisper_retrain.evaluation.transcription import estimate_snr_db, heartbeat
from whisper_retrain.evaluation.transformers_runtime import (
    TransformersTranscriber,
    _bounded,
    generation_options,
)
from whisper_retrain.records import ModelRef

MODEL = ModelRef(name="challenger", model_digest="ab" * 32)
DECODING = DecodingConfig(batch_size=2, max_tokens_per_s=0.5)
UTTERANCES = [an_utterance(number, 0.5 + 0.1 * number) for number in range(20)]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("model") / "tiny")


def test_a_report_is_made_once_and_found_under_any_name(
    s3_store: S3Store, model_dir: Path, tmp_path: Path
) -> None:
    job = plan_evaluation(MODEL, "te" * 32, DECODING)
    assert find_report(s3_store, job) is None
    seen: list[tuple[int, int, str]] = []
    report = evaluate_model(
        job, model_dir, s3_store, tone, UTTERANCES, lambda *step: seen.append(step), device="cpu"
    )
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1][:2] == (20, 20)
    assert report.utterances == 20
    assert report.conditions == job.conditions
    # As champion, a week later, on a machine without the model: no transcription at all.
    champion = ModelRef(
        name="champion", model_digest=MODEL.model_digest, repo="demo/a", revision="f" * 40
    )
    crowned = plan_evaluation(champion, "te" * 32, DECODING)
    again = evaluate_model(crowned, tmp_path / "no model here", s3_store, tone, UTTERANCES)
    assert again.model == champion
    assert again.words == report.words
    loaded = load_evaluation(s3_store, again)
    assert [row.id for row in loaded.rows] == [u.id for u in UTTERANCES]


def test_a_rerun_transcribes_only_the_shards_that_are_missing(
    s3_store: S3Store, model_dir: Path
) -> None:
    job = plan_evaluation(MODEL, "te" * 32, DECODING, probed=False)
    whole = evaluate_model(job, model_dir, s3_store, tone, UTTERANCES, device="cpu")
    rows = load_evaluation(s3_store, whole).rows
    s3_store.delete(job.record_key)
    s3_store.delete(f"{job.transcripts}shard-00001.json")
    heard: list[str] = []

    def listen(utterance):
        heard.append(utterance.id)
        return tone(utterance)

    again = evaluate_model(job, model_dir, s3_store, listen, UTTERANCES, device="cpu")
    assert sorted(heard) == ["u00000", "u00001", "u00002", "u00003"]  # the shortest come last
    assert load_evaluation(s3_store, again).rows == rows


def test_what_the_texts_depend_on_and_what_only_the_scores_do() -> None:
    job = plan_evaluation(MODEL, "te" * 32, DECODING)
    renamed = job.model_copy(update={"normalizer_version": "another"})
    assert renamed.transcripts == job.transcripts
    assert renamed.prefix != job.prefix
    for change in (
        {"test_set_digest": "ot" * 32},
        {"decoding": DecodingConfig(num_beams=2)},
        {"libraries": job.libraries | {"transformers": "6"}},
        {"model": MODEL.model_copy(update={"model_digest": "cd" * 32})},
    ):
        assert job.model_copy(update=change).transcripts != job.transcripts


def test_whatever_else_can_change_a_report_is_part_of_its_key_and_kept_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Probes of another version, other speakers of the same recordings, another aligner."""
    dataset = some_evidence().dataset
    job = plan_evaluation(MODEL, dataset, DECODING)
    other_speakers = dataset.model_copy(update={"test_columns_digest": "ab" * 32})
    others = {
        "columns of the test set": plan_evaluation(MODEL, other_speakers, DECODING),
        "aligner": job.model_copy(update={"aligner_version": "another"}),
    }
    monkeypatch.setattr(jobs, "PROBES_VERSION", "another")
    others["probes"] = plan_evaluation(MODEL, dataset, DECODING)
    for name, other in others.items():
        assert (other.prefix, other.cache_key) != (job.prefix, job.cache_key), name
        assert other.transcripts == job.transcripts, "the texts are the same"
        assert other.conditions[name] != job.conditions[name]


def test_edited_rows_are_not_loaded(s3_store: S3Store, model_dir: Path) -> None:
    job = plan_evaluation(MODEL, "te" * 32, DECODING, probed=False)
    report = evaluate_model(job, model_dir, s3_store, tone, UTTERANCES[:3], device="cpu")
    with pytest.raises(IntegrityError, match="not those that the report was made from"):
        load_evaluation(s3_store, report.model_copy(update={"rows_digest": "0" * 64}))


def test_an_empty_test_set_is_refused(s3_store: S3Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="test set is empty"):
        evaluate_model(a_job(), tmp_path, s3_store, tone, [])


def test_a_random_model_runs_away_and_is_bounded_by_duration(model_dir: Path) -> None:
    transcriber = TransformersTranscriber(model_dir, DecodingConfig(max_tokens_per_s=4), "cpu")
    short, long = transcriber.transcribe([tone(an_utterance(0, 1.0)), tone(an_utterance(1, 5.0))])
    assert transcriber.bound(1.0) == 4 + 8
    assert transcriber.bound(5.0) == 20 + 8
    assert (short.tokens, short.runaway) == (12, True)
    assert (long.tokens, long.runaway) == (28, True)
    assert transcriber.bound(29.9) == transcriber.bound(3000.0) == 120 + 8
    (alone,) = transcriber.transcribe([tone(an_utterance(0, 1.0))])
    assert alone == short  # the bound is the utterance's own, not its batch's


def test_the_bound_holds_where_generate_goes_on_with_some_utterances_of_a_batch() -> None:
    stop = _bounded([2, 4, 3])
    ids = torch.zeros(3, 3, dtype=torch.long)  # a prompt of two, and the first token
    assert stop(ids, None).tolist() == [False, False, False]
    assert stop(torch.zeros(3, 4, dtype=torch.long), None).tolist() == [True, False, False]
    assert stop(torch.zeros(1, 5, dtype=torch.long), None).tolist() == [False]
    assert stop(torch.zeros(1, 6, dtype=torch.long), None).tolist() == [True]


def test_a_model_without_alignment_heads_cannot_say_when_a_word_was_spoken(
    model_dir: Path,
) -> None:
    transcriber = TransformersTranscriber(model_dir, DECODING, "cpu")
    with pytest.raises(InputError, match="alignment_heads"):
        transcriber.transcribe([tone(UTTERANCES[0])], words=True)


def test_a_multilingual_model_must_be_told_the_language() -> None:
    class Multilingual:
        is_multilingual = True
        language = None

    with pytest.raises(InputError, match=r"decoding\.language"):
        generation_options(Multilingual(), DecodingConfig())
    options = generation_options(Multilingual(), DecodingConfig(language="en"))
    assert (options["language"], options["task"]) == ("en", "transcribe")


def test_long_batches_are_heard_of() -> None:
    import time

    beats: list[float] = []
    with heartbeat(beats.append, every_s=0.01):
        time.sleep(0.1)
    assert len(beats) >= 3
    assert beats == sorted(beats)


def test_noise_is_told_from_clean_speech() -> None:
    rng = np.random.default_rng(1)
    speech = np.concatenate([np.zeros(8000), rng.normal(0, 0.1, 8000)]).astype(np.float32)
    clean = estimate_snr_db(speech)
    noisy = estimate_snr_db((speech + rng.normal(0, 0.05, 16_000)).astype(np.float32))
    assert clean is not None
    assert noisy is not None
    assert clean > 40
    assert noisy < 10
    assert estimate_snr_db(np.zeros(100, dtype=np.float32)) is None

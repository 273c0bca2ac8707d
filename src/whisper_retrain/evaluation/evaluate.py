"""From a model and a test set to an evaluation report: transcribe, score, store, record last.

Knows nothing of other models: comparing is the gate's work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whisper_retrain.edges.store import ObjectStore, write_record
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.jobs import EvaluationJob, find_report
from whisper_retrain.evaluation.lexicon import Lexicon, default_lexicon
from whisper_retrain.evaluation.long_form import DictatedTexts, examine, plan_passages
from whisper_retrain.evaluation.rows import Row, rows_digest, rows_to_parquet
from whisper_retrain.evaluation.scoring import repeated_ngrams, score_pairs
from whisper_retrain.evaluation.shards import Extras, Heard, ShardedTranscription
from whisper_retrain.evaluation.tiers import TIERS
from whisper_retrain.evaluation.transcriber import Audio
from whisper_retrain.evaluation.transcription import Progress
from whisper_retrain.evaluation.utterance import Utterance, UtteranceT
from whisper_retrain.records import Artifact, EvaluationReport, canonical_json, total


def evaluate_model(
    job: EvaluationJob,
    model_dir: Path,
    store: ObjectStore,
    audio: Callable[[UtteranceT], Audio],
    utterances: Sequence[UtteranceT],
    progress: Progress = lambda done, total, note: None,
    *,
    device: str = "auto",
    lexicon: Lexicon | None = None,
) -> EvaluationReport:
    """Evaluate one model on one test set; what has been done before is not done again.

    `utterances` are those of the test set, in any order; `audio` gives mono 16 kHz float32.
    Raises InputError on an empty test set.
    """
    if found := find_report(store, job):
        progress(len(utterances), len(utterances), f"{job.model.name}: evaluated before")
        return found
    if not utterances:
        raise InputError("the test set is empty", where="test split", remedy="see the splits")
    transcription = ShardedTranscription(job, model_dir, store, audio, device, progress)
    shards = transcription.run(utterances)
    extras = transcription.extras(utterances) if job.probed else None
    dictated = transcription.dictations(utterances) if job.probed else DictatedTexts()
    heard = [item for shard in shards for item in shard.items]
    rows = make_rows(utterances, heard, lexicon or default_lexicon())
    artifact = store.write(f"{job.prefix}/rows.parquet", rows_to_parquet(rows))
    wall_s = sum(shard.wall_s for shard in shards)
    report = summarize(rows, job, artifact, wall_s, extras)
    if dictated.items:
        report = report.model_copy(update=_dictations(job, store, utterances, dictated))
    write_record(store, job.record_key, report)
    return report


def _dictations(
    job: EvaluationJob,
    store: ObjectStore,
    utterances: Sequence[UtteranceT],
    dictated: DictatedTexts,
) -> dict[str, Any]:
    """The fields of the report that dictations fill."""
    texts = {one.id: one for one in dictated.items}
    passages = plan_passages(utterances)
    key = f"{job.prefix}/dictations.json"
    stored = canonical_json(dictated.model_dump(mode="json"))
    return {
        "dictations": tuple(examine(passage, texts[passage.id]) for passage in passages),
        "dictation_texts": store.write(key, stored, "application/json"),
    }


def make_rows(
    utterances: Sequence[Utterance], heard: Sequence[Heard], lexicon: Lexicon
) -> list[Row]:
    """Scored rows in the order of ids."""
    texts = {item.id: item for item in heard}
    ordered = sorted(utterances, key=lambda u: u.id)
    scores = score_pairs(
        [u.reference for u in ordered], [texts[u.id].text for u in ordered], lexicon
    )
    return [
        Row(
            id=u.id,
            reference=u.reference,
            hypothesis=texts[u.id].text,
            duration_s=u.duration_s,
            speaker=u.speaker,
            prompt=u.prompt,
            phrase=u.phrase,
            sampling_rate_hz=u.sampling_rate_hz,
            snr_db=texts[u.id].snr_db,
            tokens=texts[u.id].tokens,
            runaway=texts[u.id].runaway,
            **vars(score),
        )
        for u, score in zip(ordered, scores, strict=True)
    ]


def summarize(
    rows: Sequence[Row],
    job: EvaluationJob,
    artifact: Artifact,
    wall_s: float,
    extras: Extras | None = None,
) -> EvaluationReport:
    """The report of these rows."""
    audio_s = sum(row.duration_s for row in rows)
    words = total(row.words for row in rows)
    latencies = extras.latencies_s if extras else ()
    p50, p95 = np.percentile(latencies, [50, 95]) if latencies else (0.0, 0.0)
    written = words.hits + words.substitutions + words.insertions
    return EvaluationReport(
        model=job.model,
        test_set_digest=job.test_set_digest,
        normalizer_version=job.normalizer_version,
        lexicon_version=job.lexicon_version,
        decoding_digest=job.decoding.digest,
        conditions=job.conditions,
        utterances=len(rows),
        audio_s=audio_s,
        raw=total(row.raw for row in rows),
        words=words,
        characters=total(row.characters for row in rows),
        medical=total(row.medical for row in rows),
        tiers={tier: total(row.counts(tier) for row in rows) for tier in TIERS},
        runaways=sum(row.runaway for row in rows),
        repetitions=sum(repeated_ngrams(row.hypothesis) for row in rows),
        length_ratio=written / words.reference_length if words.reference_length else 1.0,
        real_time_factor=wall_s / audio_s if audio_s else 0.0,
        probes=extras.probes if extras else {},
        latency_p50_s=float(p50),
        latency_p95_s=float(p95),
        rows=artifact,
        rows_digest=rows_digest(rows),
    )

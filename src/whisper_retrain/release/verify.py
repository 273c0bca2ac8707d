"""What a published model does for its users, held against what the gate judged.

    python -m whisper_retrain.release.verify TRIAL.json MODEL [REVISION]

A child process, so that a flow needs no torch and survives a crash of it. It uses the plain
`pipeline(...)` of the model card, from a folder (offline) or from the Hub by revision. Texts that
differ from the gate's must be explained: the gate transcribes batches in its own precision and
bounds tokens by duration, a user one utterance at a time in the published precision.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import jiwer

from whisper_retrain.config import DecodingConfig
from whisper_retrain.errors import PermanentError, TransientError
from whisper_retrain.evaluation.scoring import LOST_WORDS, count_chunks, longest_deletion
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import Record, digest_of
from whisper_retrain.whisper_constants import SAMPLING_RATE_HZ

TIMEOUT_S = 1800
TextOutcome = Literal["same", "alone", "bounded", "other"]


class JudgedText(Record):
    """A test utterance and what the gate's evaluation holds of it."""

    id: str
    """Of the utterance."""
    audio: str
    """A FLAC file on this machine."""
    text: str
    """What the gate's evaluation has for it."""


class Trial(Record):
    """What a model is tried with."""

    decoding: DecodingConfig
    """As the gate decoded."""
    utterances: tuple[JudgedText, ...]
    """To be transcribed one by one."""
    dictation: str | None
    """An audio file longer than Whisper's 30 s; None: only whether the model hears anything."""
    dictated: str = ""
    """What is said in it."""
    dictated_wer: float = 0.0
    """Of the gate's own texts of its utterances, one by one."""
    dictation_margin: float | None = None
    """WER by which it may be worse than that; None: a text is enough."""


class Verification(Record):
    """How the plain pipeline compares with the gate; never a text."""

    utterances: int
    """Test utterances tried."""
    same: int
    """Of these, with the text that the gate judged."""
    alone: int = 0
    """With the text that the Transcriber gives alone and in the published precision."""
    bounded: int = 0
    """With more text than the gate's bound on tokens allows, and no other difference."""
    dictation_s: float
    """Seconds of stitched test speech that came back as one text."""
    texts_digest: str
    """sha256 of all texts: the same before and after the push."""


def verify_in_child(trial: Trial, model: str, revision: str | None = None) -> Verification:
    """Try a model: a folder, or with a revision (40 hex digits) a repo on the Hub.

    Raises PermanentError when it does not load, does not transcribe, or writes what the gate did
    not judge; TransientError when the child was killed or took longer than TIMEOUT_S.
    """
    where = f"{model}@{revision}" if revision else model
    with tempfile.TemporaryDirectory(prefix="verify-") as name:
        order = Path(name) / "trial.json"
        order.write_text(trial.model_dump_json())
        command = [sys.executable, "-m", __name__, str(order), model, *filter(None, [revision])]
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
        if revision is None:
            environment["HF_HUB_OFFLINE"] = "1"
        else:
            environment["HF_HUB_CACHE"] = str(Path(name) / "hub")  # nothing from an earlier time
        answer = _run(command, environment, where)
    found = [id_ for id_, outcome in answer["outcomes"].items() if outcome == "other"]
    if found:
        # No text is shown: errors are logged and sent to people.
        raise PermanentError(
            "the plain pipeline writes other texts than the gate judged",
            where=where,
            expected="the gate's texts, but for batches, precision and the bound on tokens",
            got=f"{len(found)} of {len(trial.utterances)} differ: {', '.join(found[:3])}",
            remedy="compare generation_config.json with the gate's decoding",
        )
    counts = Counter(answer["outcomes"].values())
    return Verification(
        utterances=len(trial.utterances),
        same=counts["same"],
        alone=counts["alone"],
        bounded=counts["bounded"],
        dictation_s=answer["dictation_s"],
        texts_digest=answer["texts_digest"],
    )


def load_in_child(folder: Path) -> None:
    """See whether the model in a folder loads and hears a second of silence."""
    verify_in_child(Trial(decoding=DecodingConfig(), utterances=(), dictation=None), str(folder))


def _run(command: list[str], environment: dict[str, str], where: str) -> dict[str, Any]:
    try:
        child = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TransientError(
            "loading the model and transcribing took too long",
            where=where,
            expected=f"at most {TIMEOUT_S} s",
            remedy="is the machine overloaded? Run it again",
        ) from error
    if child.returncode < 0:
        raise TransientError(
            "the verifying process was killed",
            where=where,
            got=f"signal {-child.returncode}",
            remedy="out of memory? Free some and run it again",
        )
    if child.returncode:
        raise PermanentError(
            "the model does not load and transcribe as its card says",
            where=where,
            got=" / ".join(child.stderr.strip().splitlines()[-3:]),
            remedy="look at the checkpoint's files; generation_config and tokenizer are the usual "
            "suspects",
        )
    answer: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return answer


def _tried(trial: Trial, model: str, revision: str | None) -> dict[str, Any]:
    """In the child: the pipeline's texts, and how each compares."""
    asr = _pipeline(model, revision)
    texts = {one.id: _text(asr, read_mono(Path(one.audio))) for one in trial.utterances}
    dictation = read_mono(Path(trial.dictation)) if trial.dictation else silence()
    long_text = _text(asr, dictation)
    if trial.dictation:
        check_dictation(trial, long_text)
    odd = [one for one in trial.utterances if texts[one.id] != one.text]
    outcomes: dict[str, TextOutcome] = {one.id: "same" for one in trial.utterances}
    if odd:
        alone = _alone(trial.decoding, asr, model, revision)
        outcomes |= {one.id: _explained(alone, one, texts[one.id]) for one in odd}
    return {
        "outcomes": outcomes,
        "dictation_s": round(len(dictation) / SAMPLING_RATE_HZ, 1),
        "texts_digest": digest_of([texts, long_text]),
    }


def check_dictation(trial: Trial, text: str) -> None:
    """Raise ValueError unless the dictation was heard as its utterances were, to its end.

    It names figures and no text: errors are logged and sent to people.
    """
    said, heard = normalize(trial.dictated), normalize(text)
    if not heard:
        raise ValueError("the dictation came back empty")
    if trial.dictation_margin is None:
        return
    (chunks,) = jiwer.process_words([said], [heard]).alignments
    wer = count_chunks(chunks).error_rate
    if wer > trial.dictated_wer + trial.dictation_margin:
        raise ValueError(
            f"the dictation has a WER of {wer:.1%}, its utterances one by one"
            f" {trial.dictated_wer:.1%}"
        )
    if (lost := longest_deletion(chunks)) >= LOST_WORDS:
        raise ValueError(f"{lost} words in a row of the dictation are missing")


def _pipeline(model: str, revision: str | None) -> Any:
    from transformers import WhisperForConditionalGeneration, pipeline

    asr = pipeline("automatic-speech-recognition", model=model, revision=revision)
    if not isinstance(asr.model, WhisperForConditionalGeneration):
        raise TypeError(f"expected a Whisper model, got {type(asr.model).__name__}")
    # Without its files transformers makes an empty tokenizer and says nothing. All words of
    # Whisper's vocabulary come before the id that ends a text.
    if len(asr.tokenizer) <= asr.model.config.eos_token_id:
        raise ValueError(f"the tokenizer knows {len(asr.tokenizer)} tokens only")
    return asr


def _text(asr: Any, samples: Any) -> str:
    return str(asr({"raw": samples, "sampling_rate": SAMPLING_RATE_HZ})["text"]).strip()


def _alone(decoding: DecodingConfig, asr: Any, model: str, revision: str | None) -> Any:
    """The gate's Transcriber in the published precision."""
    from huggingface_hub import snapshot_download

    from whisper_retrain.evaluation.transformers_runtime import load_transcriber

    folder = snapshot_download(model, revision=revision) if revision else model
    precision = str(asr.model.dtype).removeprefix("torch.")
    published = DecodingConfig.model_validate({**decoding.model_dump(), "precision": precision})
    return load_transcriber(Path(folder), published, asr.device.type)


def _explained(alone: Any, judged: JudgedText, text: str) -> TextOutcome:
    (transcript,) = alone.transcribe([read_mono(Path(judged.audio))])
    if transcript.text == text:
        return "alone"
    return "bounded" if transcript.runaway and text.startswith(transcript.text) else "other"


def read_mono(audio: Path) -> Any:
    """float32 samples at 16 kHz, shape (num_samples,); read without ffmpeg."""
    import soundfile
    import soxr

    samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate, SAMPLING_RATE_HZ)


def silence() -> Any:
    """One second without a sound."""
    import numpy as np

    return np.zeros(SAMPLING_RATE_HZ, np.float32)


def main(order: str, model: str, revision: str | None = None) -> None:
    """Print one JSON line: outcomes by id, seconds of dictation, digest of the texts."""
    trial = Trial.model_validate_json(Path(order).read_bytes())
    sys.stdout.write(json.dumps(_tried(trial, model, revision)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

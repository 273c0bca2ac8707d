"""Whisper through transformers, as its users run it: 30 s of context, tokens bounded by duration.

Knows nothing of references or storage. Imports torch when a model is loaded, not before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from math import ceil
from pathlib import Path
from typing import Any

from whisper_retrain.config import DecodingConfig
from whisper_retrain.cpu_bfloat16 import use_blocks
from whisper_retrain.errors import InputError, OutOfMemoryError
from whisper_retrain.evaluation.cores import in_shares
from whisper_retrain.evaluation.precision import with_precision
from whisper_retrain.evaluation.transcriber import (
    Audio,
    Segment,
    Transcriber,
    Transcript,
    Word,
)
from whisper_retrain.whisper_constants import CONTEXT_S, SAMPLING_RATE_HZ

SHARE_DICTATIONS = 4
"""The fewest that a core hears side by side."""
PIECE = 2
"""Utterances that the encoder takes at once on a CPU: a fifth faster than 8 (tiny, two cores of an
Intel Xeon with AMX), whose activations leave the cache and are new memory each time."""
SLACK_TOKENS = 8
"""Added to the bound, so that short utterances may hold a long word and the end token."""


def load_transcriber(
    model_dir: Path, decoding: DecodingConfig, device: str = "auto"
) -> Transcriber:
    """The model in a folder, ready to transcribe; `device` is auto, cpu or cuda."""
    return TransformersTranscriber(model_dir, decoding, device)


def quiet_transformers() -> None:
    """Keep progress bars, and what is said of every generate call, out of the log."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    for name in ("transformers.generation", "transformers.models.whisper"):
        logging.getLogger(name).setLevel(logging.ERROR)


class TransformersTranscriber:
    """A Whisper model on a device, decoding in one fixed way.

    Batches are what they are given as, so that the same utterances in the same batches give the
    same texts, whatever the sharding; other batches, and on a CPU other numbers of cores, may
    differ in the last bits of the logits.
    """

    def __init__(self, model_dir: Path, decoding: DecodingConfig, device: str = "auto") -> None:
        import torch
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        quiet_transformers()
        self.device = torch.device(pick_device() if device == "auto" else device)
        self.decoding = with_precision(decoding)
        self._processor = WhisperProcessor.from_pretrained(str(model_dir))
        self._dtype = getattr(torch, self.decoding.precision)
        model = WhisperForConditionalGeneration.from_pretrained(str(model_dir), dtype=self._dtype)
        if self._dtype == torch.bfloat16:
            use_blocks(model)
        _keep_encoder_attention(model)
        if self.device.type == "cpu":
            _encode_in_pieces(model)
        self._model: Any = model.to(self.device).eval()
        self._positions = int(model.config.max_target_positions)
        self._model.generation_config.max_length = self._positions
        self._options = generation_options(self._model.generation_config, decoding)

    @property
    def device_name(self) -> str:
        """Where it runs."""
        return str(self.device)

    def transcribe(self, audios: Sequence[Audio], *, words: bool = False) -> list[Transcript]:
        """Transcribe one batch of mono 16 kHz float32 audio; past 30 s is cut off.

        `words` needs the model's alignment heads: InputError when its generation_config has none.
        """
        if words:
            return self._with_words(audios)
        if self.device.type == "cpu":
            return in_shares(self._texts, audios)
        return self._texts(audios)

    def _texts(self, audios: Sequence[Audio]) -> list[Transcript]:
        bounds = self._bounds(audios)
        found = self._generate(
            self._features(audios), return_timestamps=False, stopping_criteria=[_bounded(bounds)]
        )
        return [self._transcript(row, bound) for row, bound in zip(found, bounds, strict=True)]

    def _with_words(self, audios: Sequence[Audio]) -> list[Transcript]:
        bounds = self._bounds(audios)
        found = self._generate(
            self._features(audios),
            return_timestamps=False,
            stopping_criteria=[_bounded(bounds)],
            **self._words_asked(),
        )
        spoken = []
        for number, bound in enumerate(bounds):
            ids = found["sequences"][number].tolist()
            times = found["token_timestamps"][number].tolist()
            # Scores begin with the first id after the prompt.
            prompt = len(ids) - len(found["scores"])
            scores = [step[number] for step in found["scores"]]
            plain = self._transcript(found["sequences"][number][prompt:], bound)
            end_s = len(audios[number]) / SAMPLING_RATE_HZ
            heard = self._words(ids[prompt:], times[prompt:], scores, end_s)
            spoken.append(Transcript(plain.text, plain.tokens, plain.runaway, tuple(heard)))
        return spoken

    def transcribe_long(self, audios: Sequence[Audio], *, words: bool = False) -> list[Transcript]:
        """Transcribe audio of any length: what fits one window like any utterance.

        Longer audio is heard window after window, each beginning where the last finished segment
        ended, as transformers' pipeline does it.
        """

        def hear(part: Sequence[Audio]) -> list[Transcript]:
            return self._long(part, words=words)

        found: dict[int, Transcript] = {}
        long = [place for place, audio in enumerate(audios) if _seconds(audio) > CONTEXT_S]
        if long:
            chosen = [audios[place] for place in long]
            # The attention that `words` needs is set for the whole model while it is asked for.
            alone = words or self.device.type != "cpu"
            heard = hear(chosen) if alone else in_shares(hear, chosen, SHARE_DICTATIONS)
            found = dict(zip(long, heard, strict=True))
        return [
            found[place] if place in found else self._whole(audio, words=words)
            for place, audio in enumerate(audios)
        ]

    def _whole(self, audio: Audio, *, words: bool) -> Transcript:
        """What fits one window, as one segment."""
        (short,) = self.transcribe([audio], words=words)
        segments = (Segment(short.text, 0.0, _seconds(audio)),) if short.text else ()
        return Transcript(short.text, short.tokens, short.runaway, short.words, segments)

    def _long(self, audios: Sequence[Audio], *, words: bool) -> list[Transcript]:
        """Dictations side by side, window after window, each at its own pace."""
        found = self._generate(
            self._extracted(audios, truncation=False, padding="longest"),
            return_timestamps=True,
            return_segments=True,
            max_new_tokens=self.bound(CONTEXT_S),
            **(self._words_asked() if words else {}),
        )
        return [self._dictation(parts, words=words) for parts in found["segments"]]

    def _dictation(self, parts: Sequence[dict[str, Any]], *, words: bool) -> Transcript:
        heard = [word for part in parts for word in self._words_of(part)] if words else []
        texts = [self._decoded(part["tokens"].tolist()) for part in parts]
        return Transcript(
            text="".join(texts).strip(),
            tokens=sum(len(part["tokens"]) for part in parts),
            runaway=any(_written(part) >= self.bound(CONTEXT_S) for part in parts),
            words=tuple(heard),
            segments=tuple(
                Segment(text.strip(), round(float(part["start"]), 2), round(float(part["end"]), 2))
                for text, part in zip(texts, parts, strict=True)
                if text.strip()
            ),
        )

    def bound(self, duration_s: float) -> int:
        """The most tokens that an utterance of this duration may have."""
        wanted = ceil(min(duration_s, CONTEXT_S) * self.decoding.max_tokens_per_s) + SLACK_TOKENS
        return min(wanted, self._positions // 2)

    def _bounds(self, audios: Sequence[Audio]) -> list[int]:
        return [self.bound(len(audio) / SAMPLING_RATE_HZ) for audio in audios]

    @property
    def _eos(self) -> int:
        return int(self._processor.tokenizer.eos_token_id)

    def _features(self, audios: Sequence[Audio]) -> dict[str, Any]:
        """Of 30 s each; one at a time, which takes half as long as a batch and gives the same."""
        import torch

        each = [self._extracted([audio]) for audio in audios]
        return {name: torch.cat([one[name] for one in each]) for name in each[0]}

    def _extracted(self, audios: Sequence[Audio], **options: Any) -> dict[str, Any]:
        found = self._processor.feature_extractor(
            list(audios),
            sampling_rate=SAMPLING_RATE_HZ,
            return_tensors="pt",
            return_attention_mask=True,
            **options,
        )
        return dict(found.to(self.device, self._dtype))

    def _generate(self, features: dict[str, Any], **options: Any) -> Any:
        import torch

        attention = self._model.config._attn_implementation
        try:
            with torch.inference_mode():
                return self._model.generate(**features, **{**self._options, **options})
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemoryError(
                "the GPU has too little memory for a batch of transcription",
                got=f"{len(features['input_features'])} utterances of 30 s",
                remedy="lower decoding.batch_size",
            ) from error
        finally:
            # Asked for words, `generate` leaves another attention set, which is slower.
            self._model.config._attn_implementation = attention

    def _words_asked(self) -> dict[str, Any]:
        if not getattr(self._model.generation_config, "alignment_heads", None):
            raise InputError(
                "the model cannot say when a word was spoken",
                where="generation_config.json",
                expected="alignment_heads",
                got="none",
                remedy="take them over from the base model's generation_config.json",
            )
        return {
            "return_token_timestamps": True,
            "return_dict_in_generate": True,
            "output_scores": True,
        }

    def _words_of(self, part: dict[str, Any]) -> list[Word]:
        """The words of one segment; its window's result holds the scores of all its segments."""
        first, last = part["idxs"]
        scores = part["result"]["scores"]
        prompt = len(part["result"]["sequences"]) - len(scores)
        ids, times_s = part["tokens"].tolist(), part["token_timestamps"].tolist()
        own = scores[first - prompt : last - prompt]
        return list(self._words(ids, times_s, own, float(part["end"])))

    def _words(
        self, ids: Sequence[int], times_s: Sequence[float], scores: Sequence[Any], end_s: float
    ) -> Iterator[Word]:
        """Tokens put together to words: one begins where the text so far gains a blank.

        A token's time is when it begins; that of the next one, special ones too, is its end.
        """
        tokenizer, first = self._processor.tokenizer, 0
        texts = [number for number, token in enumerate(ids) if token < self._eos]
        for place, number in enumerate(texts):
            begins = [*texts[place + 1 :], None][0]
            after = tokenizer.decode([ids[begins]]) if begins is not None else " "
            if not after.startswith(" "):
                continue
            own = texts[first : place + 1]
            first = place + 1
            text = tokenizer.decode([ids[n] for n in own]).strip()
            if not text:
                continue
            ends_s = times_s[number + 1] if number + 1 < len(times_s) else end_s
            sure = min(float(scores[n].float().softmax(-1)[ids[n]]) for n in own)
            start_s = min(times_s[own[0]], end_s)
            yield Word(text, round(start_s, 2), round(max(start_s, min(ends_s, end_s)), 2), sure)

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._processor.tokenizer.decode(ids, skip_special_tokens=True))

    def _transcript(self, ids: Any, bound: int) -> Transcript:
        tokens = ids.tolist()
        ends = self._eos in tokens
        written = tokens[: tokens.index(self._eos)] if ends else tokens
        text = self._decoded(written)
        return Transcript(text.strip(), len(written), runaway=len(written) >= bound)


def _keep_encoder_attention(model: Any) -> None:
    """Let the encoder keep its attention when words are asked for.

    `generate` then sets the attention of the config that all layers share to one that returns its
    weights. Of the decoder's, words' times are read; the encoder's would be 1,500 x 1,500 for each
    of its heads, 0.4 GiB with tiny, and are not looked at.
    """
    own = deepcopy(model.config)
    for module in model.get_encoder().modules():
        if getattr(module, "config", None) is model.config:
            module.config = own


def _encode_in_pieces(model: Any) -> None:
    """Let the encoder take a few utterances at once; none of them sees another one there."""
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    encoder = model.get_encoder()
    encode = encoder.forward

    def forward(input_features: Any, **options: Any) -> Any:
        pieces = [encode(piece, **options)[0] for piece in input_features.split(PIECE)]
        return BaseModelOutput(last_hidden_state=torch.cat(pieces))

    encoder.forward = forward


def _seconds(audio: Audio) -> float:
    return len(audio) / SAMPLING_RATE_HZ


def _written(part: dict[str, Any]) -> int:
    """How many ids the model wrote for the window that a segment is of."""
    result = part["result"]
    return len(result["scores"]) if isinstance(result, dict) else len(result)


def _bounded(bounds: Sequence[int]) -> Callable[..., Any]:
    """A stopping criterion by which each utterance of a batch has its own bound of tokens.

    `generate` knows only one bound for all; with that, what an utterance may write would depend
    on the longest one beside it.
    """
    import torch

    prompt: list[int] = []

    def stop(input_ids: Any, scores: Any, **_: Any) -> Any:
        if not prompt:
            prompt.append(input_ids.shape[1] - 1)  # the first call comes after the first token
        written = input_ids.shape[1] - prompt[0]
        limit = torch.tensor(bounds, device=input_ids.device)
        if len(input_ids) < len(bounds):
            # A model that writes timestamps unasked is heard on, some utterances without the rest;
            # which ones they are is not told here.
            return written >= limit.max().expand(len(input_ids))
        return written >= limit.repeat_interleave(len(input_ids) // len(bounds))

    return stop


def generation_options(generation: Any, decoding: DecodingConfig) -> dict[str, Any]:
    """Keyword arguments of `generate`; raises InputError when a language is missing."""
    options: dict[str, Any] = {
        "num_beams": decoding.num_beams,
        "do_sample": False,
        "return_timestamps": False,
    }
    if not getattr(generation, "is_multilingual", False):
        return options
    language = decoding.language or getattr(generation, "language", None)
    if not language:
        raise InputError(
            "a multilingual model needs to be told the language",
            where="decoding.language",
            expected="a language such as 'en'",
            got="none",
            remedy="set decoding.language, or the language in the model's generation_config",
        )
    return options | {"language": language, "task": decoding.task or "transcribe"}


def pick_device() -> str:
    """The GPU when there is one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"

"""The Whisper model under training: loading, mending, short audio context, and its loss.

The model stays transformers' own class; nothing of it is copied or replaced, so what is saved
needs none of this code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows
from torch import Tensor, nn

from whisper_retrain.config import DecodingConfig
from whisper_retrain.errors import InputError
from whisper_retrain.training.features import LogMel
from whisper_retrain.training.schedule import default_rate
from whisper_retrain.training.speech import IGNORED, Labels, Piece
from whisper_retrain.training.weights import TIED
from whisper_retrain.whisper_constants import FRAMES_PER_POSITION, HOP_SAMPLES


def load_model(directory: Path) -> Any:
    """The model in float32, on the CPU; InputError when the directory holds no Whisper."""
    from transformers import WhisperForConditionalGeneration

    kind = _model_type(directory)
    if kind != "whisper":
        raise InputError(
            "the base model is no Whisper",
            where=str(directory),
            expected='model_type "whisper" in config.json',
            got=repr(kind),
            remedy="choose a Whisper checkpoint as the base model",
        )
    model, report = WhisperForConditionalGeneration.from_pretrained(
        directory,
        dtype=torch.float32,
        attn_implementation="sdpa",
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are in the report
    )
    missing = {*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])}
    missing.discard(TIED)
    if missing:
        raise InputError(
            "weights of the base model don't fit its config.json",
            where=str(directory),
            got=f"missing or of another shape: {', '.join(sorted(missing)[:3])}",
            remedy="use the config.json that the weights were saved with",
        )
    return model


def _model_type(directory: Path) -> str | None:
    try:
        kind = json.loads((directory / "config.json").read_text()).get("model_type")
    except (OSError, ValueError) as error:
        raise InputError("no readable config.json", where=str(directory), got=str(error)) from error
    return str(kind) if kind else None


def load_tokenizer(directory: Path, decoding: DecodingConfig, multilingual: bool) -> Any:
    """The tokenizer with language and task set, as far as the model knows them."""
    from transformers import WhisperTokenizer

    tokenizer = WhisperTokenizer.from_pretrained(directory)
    if multilingual:
        tokenizer.set_prefix_tokens(
            language=decoding.language, task=decoding.task or "transcribe", predict_timestamps=False
        )
    return tokenizer


def labels_for(model: Any, directory: Path, decoding: DecodingConfig) -> Labels:
    """How references become label ids of this model."""
    multilingual = bool(getattr(model.generation_config, "is_multilingual", False))
    tokenizer = load_tokenizer(directory, decoding, multilingual)
    return Labels(tokenizer, model.config.decoder_start_token_id, model.config.max_target_positions)


def mend_generation_config(model: Any, decoding: DecodingConfig) -> None:
    """Say how the gate decodes, and leave nothing that fails on reload or makes generation guess.

    forced_decoder_ids break reloading (transformers#37172); a multilingual model without language
    fails to evaluate (transformers#28814).
    """
    config = model.generation_config
    for owner in (config, model.config):
        if getattr(owner, "forced_decoder_ids", None) is not None:
            owner.forced_decoder_ids = None
    # transformers' pipeline searches with 5 beams where the file sets none, and a file that forbids
    # timestamps makes it refuse audio over 30 s.
    config.num_beams = decoding.num_beams
    # Where the end may not come first, a model must write a word on silence: base models "you".
    first = [one for one in config.begin_suppress_tokens or () if one != config.eos_token_id]
    config.begin_suppress_tokens = first or None
    vars(config).pop("return_timestamps", None)
    if not getattr(config, "is_multilingual", False):
        return
    if decoding.language is None:
        raise InputError(
            "the base model is multilingual, and no language is set",
            where="decoding.language",
            expected='a language such as "en"',
            got="none",
            remedy="set it, or choose an English-only base model (.en)",
        )
    config.language = decoding.language
    config.task = decoding.task or "transcribe"


def default_learning_rate(model: Any) -> float:
    """By the size whose width is nearest."""
    return default_rate(int(model.config.d_model))


def checkpoint_activations(model: Any) -> None:
    """Keep no activations inside layers but compute them again in the backward pass."""
    # transformers renamed it; older releases know only the former name.
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})


@contextmanager
def audio_context(model: Any, positions: int) -> Iterator[None]:
    """Let the encoder take `positions` (of 20 ms) instead of its 1,500.

    The encoder reads its length from two plain integers: the config's and the position table's.
    Both are put back, so that nothing of it reaches a saved file or generation.
    """
    encoder = model.model.encoder
    table, config = encoder.embed_positions, encoder.config
    full = table.num_embeddings, config.max_source_positions
    table.num_embeddings = config.max_source_positions = positions
    try:
        yield
    finally:
        table.num_embeddings, config.max_source_positions = full


class WhisperLoss(nn.Module):
    """Waveforms and label ids to the summed cross-entropy of their label ids."""

    def __init__(self, whisper: Any, augment: nn.Module | None = None) -> None:
        super().__init__()
        self.whisper = whisper
        self.log_mel = LogMel(whisper.config.num_mel_bins)
        self.augment = augment or nn.Identity()
        self._lookup: Tensor | None = None

    def look_up_apart(self) -> None:
        """Look token ids up in a leaf of its own, which shares the tied embedding's values.

        A batch looks up a few dozen ids. As one leaf with the projection, autograd would copy a
        gradient as wide as the vocabulary for them in every piece; apart, they stay sparse until
        `join_lookup`. torch.compile can't do so.
        """
        weight = self.whisper.proj_out.weight
        tied = weight is self.whisper.model.decoder.embed_tokens.weight
        if tied and weight.requires_grad:
            self._lookup = weight.detach().requires_grad_()

    def join_lookup(self) -> None:
        """Add the gradient of the ids looked up to that of the weight they belong to."""
        if self._lookup is not None and self._lookup.grad is not None:
            self.whisper.proj_out.weight.grad += self._lookup.grad
            self._lookup.grad = None

    def forward(self, piece: Piece) -> Tensor:
        """Sum over all label ids but the padding, in float32; shape ()."""
        features = self.augment(self.log_mel(piece.waves))
        # Two frames of 10 ms are one position; see the encoder's second convolution.
        with audio_context(
            self.whisper, piece.waves.shape[1] // HOP_SAMPLES // FRAMES_PER_POSITION
        ):
            hidden = self.whisper.model(
                input_features=features, use_cache=False, **self._looked_up(piece.decoder_ids)
            ).last_hidden_state
        return self.summed_loss(hidden, piece.labels)

    def _looked_up(self, ids: Tensor) -> dict[str, Tensor]:
        if self._lookup is None:
            return {"decoder_input_ids": ids}
        padding = self.whisper.model.decoder.embed_tokens.padding_idx
        found = F.embedding(ids, self._lookup, padding_idx=padding, sparse=True)
        return {"decoder_inputs_embeds": found}

    def summed_loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy at the positions that count: the vocabulary is too wide for padding."""
        used = labels != IGNORED
        logits = self.whisper.proj_out(hidden[used])
        return F.cross_entropy(logits.float(), labels[used], reduction="sum")

